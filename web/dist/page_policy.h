/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "7c5bbf499a166e26ab4497af070feb8f"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-hvsHkwzDS4mZKvbqsQ3JgUu2Nkfk4uDjtxEAncQBmD0='; " \
    "style-src 'sha256-l2Qt3p9pkBYF0cuvGS7qL07viflYzcMomq2Xm5ZfLac='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
