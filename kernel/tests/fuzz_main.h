/* The main of fuzz_kernel where libFuzzer has none: plays files, then random scripts. */
#ifndef FLOW_FUZZ_MAIN_H
#define FLOW_FUZZ_MAIN_H

#include <time.h>

#include "fuzz_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Sanitizers end the program by a signal, or by the callback. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

static void on_abort(int number)
{
    (void)number;
    name_script();
}

#define SCRIPT_BYTES_MAX 4096

static void play_random(uint64_t seed)
{
    static uint8_t bytes[SCRIPT_BYTES_MAX];
    script_seed = seed;
    rng_state = seed * 0x9E3779B97F4A7C15u | 1;
    const size_t count = 64 + rng() % (rng() % 4 ? 800 : SCRIPT_BYTES_MAX - 64);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(rng() >> 32);
    LLVMFuzzerTestOneInput(bytes, count);
}

static void play_file(const char *path)
{
    static uint8_t bytes[BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    script_seed = 0;
    LLVMFuzzerTestOneInput(bytes, count);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, scripts = 1000;
    long seconds = 0;
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(name_script);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-s") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc)
            scripts = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "-t") == 0 && i + 1 < argc)
            seconds = strtol(argv[++i], NULL, 10);
        else
            play_file(argv[i]);
    }
    const time_t end = time(NULL) + seconds;
    uint64_t played = 0;
    while (played < scripts && (seconds == 0 || time(NULL) < end))
        play_random(seed + played++);
    printf("fuzz_kernel: %llu scripts\n", (unsigned long long)played);
    return 0;
}

#endif
