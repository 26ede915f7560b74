/* Runs a program on a terminal of its own and talks with it, so that tests wait for what they expect
 * instead of for a time: expect [-e FILE] PROGRAM ARG... < script. Script lines:
 *   wait TEXT    read until TEXT appears after what was matched before
 *   send TEXT    type TEXT; \n, \t, \\ and \^C \^D as keys
 *   end STATUS   the program ends by itself with this exit status
 *   absent TEXT  TEXT did not appear so far
 * -e FILE: standard error goes to FILE, so that it is no terminal. What was read is printed on
 * failure; 30 seconds of silence are a failure. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SILENCE_MS 30000
#define MAX_TEXT   (1 << 20)

static char seen[MAX_TEXT];
static size_t n_seen, matched;
static int terminal;
static pid_t child;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "expect: %s '%s'; the terminal showed:\n%.*s\n", what, detail, (int)n_seen,
            seen);
    kill(child, SIGKILL);
    exit(1);
}

/* false: the program closed the terminal. */
static bool read_more(void)
{
    struct pollfd p = {.fd = terminal, .events = POLLIN};
    if (poll(&p, 1, SILENCE_MS) <= 0)
        die("silence", "");
    if (n_seen == MAX_TEXT)
        die("too much text", "");
    ssize_t n = read(terminal, seen + n_seen, MAX_TEXT - n_seen);
    if (n <= 0)
        return false;
    n_seen += (size_t)n;
    return true;
}

static void wait_for(const char *text)
{
    for (;;) {
        char *at = memmem(seen + matched, n_seen - matched, text, strlen(text));
        if (at) {
            matched = (size_t)(at - seen) + strlen(text);
            return;
        }
        if (!read_more())
            die("the program ended before", text);
    }
}

static void send_keys(const char *s)
{
    for (; *s; s++) {
        char key = *s;
        if (*s == '\\') {
            s++;
            key = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
            if (*s == '^' && s[1])
                key = (char)(*++s - '@');
        }
        if (write(terminal, &key, 1) != 1)
            die("cannot type", s);
    }
}

static void wait_end(const char *status)
{
    int how, code;
    while (read_more())
        ;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        ;
    code = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
    if (code != (int)strtol(status, NULL, 10)) {
        fprintf(stderr, "expect: exit status %d, expected %s\n", code, status);
        die("ended", status);
    }
}

static void act(char *line)
{
    char *text = strchr(line, ' ');
    line[strcspn(line, "\n")] = '\0';
    text = text ? text + 1 : line + strlen(line);
    if (strncmp(line, "wait ", 5) == 0)
        wait_for(text);
    else if (strncmp(line, "send ", 5) == 0)
        send_keys(text);
    else if (strncmp(line, "end ", 4) == 0)
        wait_end(text);
    else if (strncmp(line, "absent ", 7) == 0) {
        if (memmem(seen, n_seen, text, strlen(text)))
            die("there is", text);
    } else if (*line && *line != '#')
        die("unknown line", line);
}

int main(int argc, char **argv)
{
    const char *errors = NULL;
    char line[4096];
    int first = 1;
    struct winsize size = {.ws_row = 40, .ws_col = 200};
    if (argc > 3 && strcmp(argv[1], "-e") == 0) {
        errors = argv[2];
        first = 3;
    }
    child = forkpty(&terminal, NULL, NULL, &size);
    if (child == 0) {
        int fd = errors ? open(errors, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
        if (fd >= 0)
            dup2(fd, 2);
        execv(argv[first], argv + first);
        _exit(127);
    }
    if (child < 0)
        return 1;
    while (fgets(line, sizeof line, stdin))
        act(line);
    return 0;
}
