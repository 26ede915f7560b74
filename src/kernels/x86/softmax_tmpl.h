/* One tile of the running softmax on the lanes of one instruction set; see ref/attn_ref.c. */
#include <math.h>

float LANES_FN(softmax)(float *score, int n, float *m, float *l)
{
    const vf none = vf_set1(-INFINITY);
    vf top16 = none, sum = vf_zero();
    int j = 0;
    for (; j + 16 <= n; j += 16)
        top16 = vf_max(vf_load(score + j), top16);
    if (j < n)
        top16 = vf_max(vf_first_n(vf_load_n(score + j, n - j), none, n - j), top16);
    float top = vf_fold_max(top16);
    top = (top > *m ? top : *m) + 0.0f;
    float c = *m != top ? vf_first(vf_exp(vf_set1(*m - top))) : 1.0f;
    vf base = vf_set1(top == -INFINITY ? 0.0f : top);
    for (j = 0; j + 16 <= n; j += 16) {
        vf e = vf_exp(vf_sub(vf_load(score + j), base));
        vf_store(score + j, e);
        sum = vf_add(sum, e);
    }
    if (j < n) {
        vf e = vf_exp(vf_sub(vf_load_n(score + j, n - j), base));
        vf_store_n(score + j, e, n - j);
        sum = vf_add(sum, vf_first_n(e, vf_zero(), n - j));
    }
    *l = *l * c + vf_fold(sum);
    *m = top;
    return c;
}
