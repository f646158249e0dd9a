"""The templates of a C header. `$real` is float or double; `$f` is the suffix of literals and functions."""

HEAD = """\
/* A classifier of $n_columns columns, written by tinyrs $version. C99, needs libm, allocates nothing.

       double row[${NAME}_N_COLUMNS] = {...};    NAN for a missing value
       $real probabilities[${NAME}_N_CLASSES];
       ${name}_predict_proba(row, probabilities);

   ${name}_columns holds the names of the columns. If there is a function ${name}_encode_<i>, column i holds
   categories, and row[i] is the value that this function returns for one. ${name}_classes holds the labels of
   the probabilities. */

#ifndef ${NAME}_H
#define ${NAME}_H

$includes
#define ${NAME}_N_COLUMNS $n_columns
#define ${NAME}_N_CLASSES $n_classes
"""

SAME = """\
static inline int ${name}_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}
"""

ENCODE_TEXT = """\
/* Column $column: a string in UTF-8; a null pointer or an empty string for a missing value. */
static inline double ${name}_encode_$column(const char *category)
{
    int i;
    if (!category || !*category) return $missing;
    for (i = 0; i < $n_known; i++)
        if (${name}_known_$column[i] && ${name}_same(${name}_known_$column[i], category)) return i;
    return $otherwise;
}
"""

ENCODE_NUMBER = """\
/* Column $column: a number; NAN for a missing value. */
static inline double ${name}_encode_$column(double category)
{
    int i;
    if (isnan(category)) return $missing;
    for (i = 0; i < $n_known; i++)
        if (${name}_known_$column[i] == category) return i;
    return -1;
}
"""

# The rarer categories of a column share a few codes.
BUCKET = """\
/* The CRC-32 of a prefix and text, modulo n; crc is the CRC-32 of the prefix. */
static inline int ${name}_bucket(unsigned long crc, const char *text, int n)
{
    int bit;
    crc ^= 0xffffffffUL;
    for (; *text; text++) {
        crc ^= (unsigned char)*text;
        for (bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320UL : 0);
    }
    return (int)((crc ^ 0xffffffffUL) % (unsigned long)n);
}
"""

COPY = """\
static inline void ${name}_features(const double *row, $real *x)
{
    int i;
    for (i = 0; i < $n_columns; i++) x[i] = ($real)row[i];
}
"""

# Each block advances x past its features.
FEATURES = """\
static inline void ${name}_features(const double *row, $real *x)
{
    int i;
    for (i = 0; i < $n_features; i++) x[i] = 0;
$blocks}
"""

NUMBERS = """\
    for (i = 0; i < $count; i++) {
        double z = (row[${name}_number[i]] - ${name}_centre[i]) * ${name}_scale[i];
        z = z > 1e18 ? 1e18 : (z < -1e18 ? -1e18 : z);
        /* The feature of a missing number is 0, as for the median. */
        if (!isnan(z)) x[i] = ($real)(z / sqrt(1 + z / 3 * (z / 3)));
    }
    x += $count;
"""

MISSING_INDICATORS = """\
    for (i = 0; i < $count; i++) x[i] = isnan(row[${name}_flagged[i]]) ? 1 : 0;
    x += $count;
"""

CATEGORIES = """\
    for (i = 0; i < $count; i++) {
        double code = row[${name}_category[i]];
        if (code >= 0 && code < ${name}_codes[i]) x[(int)code] = 1;
        x += ${name}_codes[i];
    }
"""

EMBED = """\
/* Appends to the features x three sums of sixteen cosines of each of the first $n. */
static inline void ${name}_embed($real *x, const $real *w1, const $real *b1, const $real *w2, const $real *b2)
{
    $real *e = x + $n_features;
    int i, k, o;
    for (i = 0; i < $n; i++, e += 3) {
        for (o = 0; o < 3; o++) e[o] = b2[3 * i + o];
        for (k = 0; k < 16; k++) {
            $real u = w1[16 * i + k] * x[i] + b1[16 * i + k];
            $real c = cos$f(6.283185307179586$f * (u - rint$f(u)));
            for (o = 0; o < 3; o++) e[o] += w2[16 * (3 * i + o) + k] * c;
        }
    }
}
"""

DENSE = """\
/* z = W x + b for W of shape (inputs, outputs). The inner loop runs over the outputs, because a compiler can
   vectorise it without reordering a sum. Zeros are skipped: categories and relu produce many of them. */
static inline void ${name}_dense(
    const $real *x, int n_in, const $real *w, const $real *b, $real *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) z[j] = b[j];
    for (i = 0; i < n_in; i++, w += n_out) {
        $real x_i = x[i];
        if (x_i != 0)
            for (j = 0; j < n_out; j++) z[j] += x_i * w[j];
    }
}
"""

# For weights of int8, and inputs turned into int8 (format "int8").
DENSE_INT8 = """\
/* Turns x into integers q from -127 to 127, and returns what they are to be multiplied by. */
static inline float ${name}_quantize(const float *x, int n, int8_t *q)
{
    float largest = 0, scale;
    int i;
    for (i = 0; i < n; i++)
        if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
    scale = largest / 127;
    for (i = 0; i < n; i++) {
        /* To the nearest integer, of two equally near ones to the even one. */
        float value = scale > 0 ? rintf(x[i] / scale) : 0;
        q[i] = (int8_t)(value > 127 ? 127 : (value < -127 ? -127 : value));
    }
    return scale;
}

/* q . w: no floating point. 32 bits hold the sum of up to 133,144 products. */
static inline int32_t ${name}_dot(const int8_t *q, const int8_t *w, int n)
{
    int32_t sum = 0;
    int i;
    for (i = 0; i < n; i++) sum += q[i] * w[i];
    return sum;
}

/* z = W x + b for W of shape (outputs, inputs), where s[j] is the scale of the integers in row j of W. */
static inline void ${name}_dense_int8(
    const float *x, int n_in, const int8_t *w, const float *s, const float *b, int8_t *q, float *z, int n_out)
{
    float scale = ${name}_quantize(x, n_in, q);
    int j;
    for (j = 0; j < n_out; j++, w += n_in)
        z[j] = (float)${name}_dot(q, w, n_in) * (scale * s[j]) + b[j];
}
"""

# For weights of int8 (format "int8_weights").
DENSE_INT8_WEIGHTS = """\
/* z = W x + b as in ${name}_dense, where s[j] is the scale of the integers in column j of W. */
static inline void ${name}_dense_int8_weights(
    const float *x, int n_in, const int8_t *w, const float *s, const float *b, float *z, int n_out)
{
    int i, j;
    for (j = 0; j < n_out; j++) z[j] = 0;
    for (i = 0; i < n_in; i++, w += n_out) {
        float x_i = x[i];
        if (x_i != 0)
            for (j = 0; j < n_out; j++) z[j] += x_i * w[j];
    }
    for (j = 0; j < n_out; j++) z[j] = z[j] * s[j] + b[j];
}
"""

# For the inputs of weights of bfloat16.
ROUND_TO_BFLOAT16 = """\
/* Rounds x to bfloat16, the upper half of a float. */
static inline void ${name}_round_to_bfloat16(float *x, int n)
{
    uint32_t bits = 0;
    int i;
    for (i = 0; i < n; i++) {
        memcpy(&bits, &x[i], sizeof bits);
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
        memcpy(&x[i], &bits, sizeof bits);
    }
}
"""

_ACTIVATION = """\
static inline void ${name}_%s($real *z, int n)
{
    int i;
    for (i = 0; i < n; i++) z[i] = %s;
}
"""
_VALUES = {
    "sigmoid": "1 / (1 + exp$f(-z[i]))",
    "tanh": "tanh$f(z[i])",
    "relu": "z[i] > 0 ? z[i] : 0",
    "leaky_relu": "z[i] > 0 ? z[i] : 0.01$f * z[i]",
    "selu": "z[i] > 0 ? 1.0507009873554805$f * z[i] : 1.758099340847377$f * expm1$f(z[i])",
    "gelu": "z[i] / (1 + exp$f(-1.5957691216057308$f * z[i] * (1 + 0.044715$f * z[i] * z[i])))",
    "silu": "z[i] / (1 + exp$f(-z[i]))",
}
SOFTMAX = """\
static inline void ${name}_softmax($real *z, int n)
{
    $real largest = z[0], total = 0;
    int i;
    for (i = 1; i < n; i++)
        if (z[i] > largest) largest = z[i];
    for (i = 0; i < n; i++) {
        z[i] = exp$f(z[i] - largest);
        total += z[i];
    }
    for (i = 0; i < n; i++) z[i] /= total;
}
"""
ACTIVATIONS = {name: _ACTIVATION % (name, value) for name, value in _VALUES.items()} | {"softmax": SOFTMAX}

SCALE = """\
static inline void ${name}_times($real *z, int n, $real factor)
{
    int i;
    for (i = 0; i < n; i++) z[i] *= factor;
}
"""

ADD = """\
static inline void ${name}_add(const $real *z, int n, $real *sum)
{
    int i;
    for (i = 0; i < n; i++) sum[i] += z[i];
}
"""

PREDICT_PROBA = """\
/* The probability of each of ${name}_classes. */
static inline void ${name}_predict_proba(const double *row, $real *probabilities)
{
    $buffers
$calls}
"""

PREDICT = """\
/* The index of the most probable class in ${name}_classes. */
static inline int ${name}_predict(const double *row)
{
    $real p[${NAME}_N_CLASSES];
    int i, best = 0;
    ${name}_predict_proba(row, p);
    for (i = 1; i < ${NAME}_N_CLASSES; i++)
        if (p[i] > p[best]) best = i;
    return best;
}
"""

PREDICT_MULTILABEL = """\
/* For each of ${name}_classes, whether the row has this label: 1 or 0. */
static inline void ${name}_predict(const double *row, int *labels)
{
    $real p[${NAME}_N_CLASSES];
    int i;
    ${name}_predict_proba(row, p);
    for (i = 0; i < ${NAME}_N_CLASSES; i++) labels[i] = p[i] > 0.5$f;
}
"""

TAIL = "#endif\n"
