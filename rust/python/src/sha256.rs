//! SHA-256 in hexadecimal.

use sha2::{Digest, Sha256};

/// The SHA-256 of a text and of the bytes of several arrays. The text tells apart arrays of other kinds and shapes.
pub fn sha256(text: &str, arrays: &[&[u8]]) -> String {
    let mut sha = Sha256::new_with_prefix(text);
    for array in arrays {
        sha.update(array.len().to_le_bytes());
        sha.update(array);
    }
    hexadecimal(sha)
}

/// The digest of all that `sha` was given.
pub fn hexadecimal(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
