//! The preparation of inputs: rounded to bf16, or quantized to integers with one scale for each row.

use std::marker::PhantomData;

use half::bf16;

use super::layout::{Layout, WIDEN_MIN_ROWS};
use super::stored::{LARGEST, divisor, scale_of};
use crate::linalg::view::View;
use crate::simd::low_precision::{InputForm, Multiply, NarrowLanes, QUANTIZE, TILE_ROW_UNIT};
use crate::simd::{Lanes, MAX_LANES};

/// Prepared rows, which a product reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub first: *const u8,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// The scale of each row; only read if inputs are quantized.
    pub scales: *const f32,
    pub borrowed: PhantomData<&'a [f32]>,
}

impl Layout {
    /// The scratch memory for a product of `rows` rows, in f32 elements; its start need not be aligned. It holds the
    /// prepared rows, or a widened panel.
    pub(super) fn scratch_len(&self, rows: usize, inputs: usize) -> usize {
        match self.form {
            InputForm::F32 if rows < WIDEN_MIN_ROWS => 0,
            InputForm::F32 => self.panel_len(inputs),
            _ => rows.next_multiple_of(TILE_ROW_UNIT) * (self.row_bytes(inputs) / size_of::<f32>() + 1),
        }
    }
}

/// Prepares the rows of x (rows, inputs) in `scratch`, or returns them as they are if that is their form.
///
/// # Safety
/// `scratch` has [`Layout::scratch_len`] elements, which nothing else accesses during `'a`.
#[inline(always)]
pub(super) unsafe fn prepare<'a, M: Multiply>(
    m: M,
    layout: &Layout,
    x: View<'a, f32>,
    scratch: *mut f32,
) -> Inputs<'a> {
    if M::FORM == InputForm::F32 {
        let (first, stride) = (x.at(0, 0).cast(), x.stride() * size_of::<f32>());
        return Inputs { first, stride, scales: std::ptr::null(), borrowed: PhantomData };
    }
    let stride = layout.row_bytes(x.cols());
    // The scales are behind the rows.
    let scales = scratch.wrapping_byte_add(x.rows().next_multiple_of(TILE_ROW_UNIT) * stride);
    for r in 0..x.rows() {
        let to = scratch.wrapping_byte_add(r * stride).cast();
        // SAFETY: the caller's promise; the row has room for whole registers.
        unsafe {
            match M::FORM {
                InputForm::Int8 { offset } => {
                    let scale = scale_of(largest_magnitude(m.lanes(), x.row(r)));
                    scales.add(r).write(scale);
                    quantize_row(m, x.row(r), (scale, offset), to);
                }
                _ => round_row(m, x.row(r), to),
            }
        }
    }
    Inputs { first: scratch.cast(), stride, scales, borrowed: PhantomData }
}

/// Calls `$body` with each register of `$x` in `$v` and its position in `$i`, and then with zeros, up to a position that is
/// a multiple of 64. A macro, because closures do not inherit `target_feature`.
macro_rules! for_each_register {
    ($s:ident, $x:ident, |$v:ident, $i:ident| $body:expr) => {{
        let (n, mut $i) = (<M::Lanes as Lanes<f32>>::N, 0);
        while $i < $x.len() {
            let $v = $s.load_up_to($x.as_ptr().add($i), n.min($x.len() - $i));
            $body;
            $i += n;
        }
        while !$i.is_multiple_of(64) {
            let $v = $s.splat(0.0);
            $body;
            $i += n;
        }
    }};
}

/// # Safety
/// `to` has room for the row and the zeros that follow it.
#[inline(always)]
unsafe fn quantize_row<M: Multiply>(m: M, x: &[f32], (scale, offset): (f32, i32), to: *mut u8) {
    let s = m.lanes();
    let (divisor, bound, negative) = (s.splat(divisor(scale)), s.splat(LARGEST), s.splat(-LARGEST));
    let round = s.splat(QUANTIZE + offset as f32);
    // SAFETY: the caller's promise; registers of x end at or before its length.
    unsafe {
        for_each_register!(s, x, |v, i| {
            // Above 127 only if the scale is a denormal number.
            let q = s.max(negative, s.min(bound, s.div(v, divisor)));
            m.store_inputs(to.add(i * M::INPUT_BYTES), s.add(q, round));
        });
    }
}

/// # Safety
/// As for [`quantize_row`].
#[inline(always)]
unsafe fn round_row<M: Multiply>(m: M, x: &[f32], to: *mut u8) {
    let s = m.lanes();
    let (bound, negative) = (s.splat(bf16::MAX.to_f32_const()), s.splat(bf16::MIN.to_f32_const()));
    // SAFETY: as above.
    unsafe {
        for_each_register!(s, x, |v, i| {
            let rounded = s.round_to_bf16(s.max(negative, s.min(bound, v)));
            m.store_inputs(to.add(i * M::INPUT_BYTES), rounded);
        });
    }
}

/// The largest magnitude in a row of finite numbers.
#[inline(always)]
fn largest_magnitude<S: Lanes<f32>>(s: S, x: &[f32]) -> f32 {
    let mut largest = [s.splat(0.0); 2];
    let mut i = 0;
    while i < x.len() {
        for largest in &mut largest {
            let n = S::N.min(x.len().saturating_sub(i));
            // SAFETY: x has n elements at position i.
            let v = unsafe { s.load_up_to(x.as_ptr().wrapping_add(i), n) };
            *largest = s.max(s.abs(v), *largest);
            i += S::N;
        }
    }
    let mut lanes = [0.0; MAX_LANES];
    // SAFETY: no register has more lanes.
    unsafe { s.store(lanes.as_mut_ptr(), s.max(largest[0], largest[1])) };
    // Numbers of at least 0 have the order of their bits, whose maximum the compiler finds in registers.
    f32::from_bits(lanes.into_iter().map(f32::to_bits).fold(0, u32::max))
}
