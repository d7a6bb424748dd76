/* The mirror of the runtimes' suite as one static program: does what each line on stdin says. Beyond the suite's words
   it knows a few with which the tests look at their container from within. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
    fputs(text, stdout);
    fputc('\n', stdout);
    fflush(stdout);
}

/* Starts a process that ignores everything and holds the streams open. */
static void child(void)
{
    if (fork() == 0) {
        signal(SIGHUP, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        for (;;)
            sleep(1);
    }
    say("child");
}

/* Takes and touches so many MiB of memory. */
static void eat(long mib)
{
    for (long n = 0; n < mib; n++) {
        char *memory = malloc(1 << 20);
        if (memory)
            memset(memory, 1, 1 << 20);
    }
    say("eaten");
}

static void write_to(const char *path)
{
    FILE *file = fopen(path, "w");
    say(file ? "written" : strerror(errno));
    if (file)
        fclose(file);
}

/* The lines of a file that have the word. */
static void grep(char *arguments)
{
    char *word = strtok(arguments, " "), *path = strtok(NULL, " "), line[4096];
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (strstr(line, word)) {
            line[strcspn(line, "\n")] = 0;
            say(line);
        }
    if (file)
        fclose(file);
    say("end");
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int deaf = 0;

    say("{\"type\":\"hello\",\"protocol\":1,\"worker\":\"mirror\",\"version\":\"1.0.0\",\"slots\":1}");
    while ((length = getline(&line, &room, stdin)) > 0) {
        if (line[length - 1] == '\n')
            line[length - 1] = 0;
        if (strncmp(line, "exit ", 5) == 0) {
            fflush(stdout);
            _exit(atoi(line + 5));
        } else if (strncmp(line, "err ", 4) == 0) {
            fprintf(stderr, "%s\n", line + 4);
        } else if (strcmp(line, "deaf") == 0) {
            deaf = 1;
        } else if (strcmp(line, "child") == 0) {
            child();
        } else if (strcmp(line, "folder") == 0) {
            say(getenv("SENGU_WORKER_FOLDER"));
        } else if (strncmp(line, "eat ", 4) == 0) {
            eat(atol(line + 4));
        } else if (strncmp(line, "write ", 6) == 0) {
            write_to(line + 6);
        } else if (strncmp(line, "grep ", 5) == 0) {
            grep(line + 5);
        } else if (strcmp(line, "uid") == 0) {
            printf("%d\n", (int)getuid());
            fflush(stdout);
        } else if (strncmp(line, "env ", 4) == 0) {
            say(getenv(line + 4) ? getenv(line + 4) : "");
        } else if (strncmp(line, "flood ", 6) == 0) {
            for (long n = 0; n < atol(line + 6); n++)
                printf("flood %ld\n", n);
            fflush(stdout);
        } else {
            say(line);
        }
    }
    while (deaf)
        sleep(60);
    return 0;
}
