// peer PROBLEM float64|float32 fixed|rk4|adaptive TRAJECTORIES INPUT OUTPUT rtol=... atol=... end=... first_step=... steps=...
//      max_steps=... repeats=... transfer=0|1 block=...
// INPUT holds float64 columns one after another. OUTPUT gets values in the precision asked for, a row an output, then int32
// rows: status, steps tried, steps rejected. One line of JSON on standard output.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"

static void setting(Job *job, const char *text) {
  const char *equals = strchr(text, '=');
  if (!equals) {
    fprintf(stderr, "expected name=value, but got %s\n", text);
    exit(2);
  }
  char *rest;
  double value = strtod(equals + 1, &rest);
  if (rest == equals + 1 || *rest) {
    fprintf(stderr, "expected a number, but got %s\n", text);
    exit(2);
  }
  struct { const char *name; double *real; int *whole; } known[] = {
      {"rtol", &job->settings.rtol, nullptr},
      {"atol", &job->settings.atol, nullptr},
      {"end", &job->settings.end, nullptr},
      {"first_step", &job->settings.first_step, nullptr},
      {"steps", nullptr, &job->settings.steps},
      {"max_steps", nullptr, &job->settings.max_steps},
      {"repeats", nullptr, &job->repeats},
      {"transfer", nullptr, &job->transfer},
      {"block", nullptr, &job->block},
  };
  for (auto &one : known)
    if (strlen(one.name) == size_t(equals - text) && strncmp(one.name, text, equals - text) == 0) {
      if (one.real) *one.real = value;
      else *one.whole = int(value);
      return;
    }
  fprintf(stderr, "no such setting: %s\n", text);
  exit(2);
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "peer PROBLEM PRECISION MODE TRAJECTORIES INPUT OUTPUT [name=value ...]\n");
    return 2;
  }
  Job job = {argv[1], argv[2], argv[3], argv[5], argv[6], atol(argv[4]), 10, 0, 128, {1e-6, 1e-9, 1.0, 0.0, 1000, 1000000}};
  for (int i = 7; i < argc; i++) setting(&job, argv[i]);
  if (job.trajectories < 1 || job.block < 1 || job.block > 256 || job.repeats < 0 || job.settings.steps < 1) {
    fprintf(stderr, "trajectories and steps must be at least 1, block from 1 to 256\n");
    return 2;
  }
  if (run_lorenz(job) || run_lorenz96(job) || run_circulation(job) || run_pollu(job) || run_ten_tusscher(job)) return 0;
  fprintf(stderr, "nothing solves %s in %s with %s steps\n", job.problem, job.precision, job.mode);
  return 2;
}
