/* exp(x) as one sequence of IEEE operations, instantiated with scalar floats by the reference and with
 * vectors by each instruction set, so that all give the same bits.
 *
 *   n = rint(x / ln 2), by adding 1.5 * 2^23; r = x - n ln 2 in two parts (n times the 16-bit high
 *   part is exact); exp(x) = 2^n * (1 + r + r^2 q(r)), |r| <= 0.3466, q of degree 4 minimising the
 *   relative error (8.8e-9, a seventh of a unit in the last place).
 *
 * Measured over every seventh float of the range: within 1.04 units of the last place. Below -87.3 (the
 * last whole number of hundredths whose result is a normal number) the result is 0; above 88.37 it stays
 * at exp(88.37) = 2.39e38. NaN stays NaN: the clamps keep their second operand when they cannot compare.
 *
 * The includer defines EXP_NAME, EXP_F (the float type), EXP_SET1(c), EXP_ADD, EXP_SUB, EXP_MUL,
 * EXP_MAX(a, b) and EXP_MIN(a, b) (b unless a wins the comparison), EXP_POW2(t) (the float whose bits
 * are (bits(t) + 127) << 23) and EXP_ZERO_BELOW(y, x, c) (0 where x < c, else y). */
static inline EXP_F EXP_NAME(EXP_F x)
{
    const EXP_F magic = EXP_SET1(0x1.8p23f);
    EXP_F c = EXP_MIN(EXP_SET1(88.37f), EXP_MAX(EXP_SET1(-87.3f), x));
    EXP_F t = EXP_ADD(EXP_MUL(c, EXP_SET1(0x1.715476p+0f)), magic);
    EXP_F n = EXP_SUB(t, magic);
    EXP_F r = EXP_SUB(EXP_SUB(c, EXP_MUL(n, EXP_SET1(0x1.62e4p-1f))),
                      EXP_MUL(n, EXP_SET1(0x1.7f7d1cp-20f)));
    EXP_F q = EXP_SET1(0x1.6b3d1p-10f);
    q = EXP_ADD(EXP_MUL(q, r), EXP_SET1(0x1.123c9cp-7f));
    q = EXP_ADD(EXP_MUL(q, r), EXP_SET1(0x1.55585ep-5f));
    q = EXP_ADD(EXP_MUL(q, r), EXP_SET1(0x1.55548cp-3f));
    q = EXP_ADD(EXP_MUL(q, r), EXP_SET1(0x1.fffffcp-2f));
    EXP_F y = EXP_ADD(EXP_ADD(EXP_MUL(EXP_MUL(r, r), q), r), EXP_SET1(1.0f));
    return EXP_ZERO_BELOW(EXP_MUL(y, EXP_POW2(t)), x, EXP_SET1(-87.3f));
}
