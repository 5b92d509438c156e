// Runs a job once its input has rested for a moment; a newer input cancels the run before it.

export interface Rested<T> {
  run(input: T): void;
  cancel(): void;
}

export function rested<T>(job: (input: T, signal: AbortSignal) => Promise<void>, pause: number): Rested<T> {
  let leaving = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function cancel() {
    clearTimeout(timer);
    leaving.abort();
  }

  return {
    cancel,
    run(input) {
      cancel();
      const { signal } = (leaving = new AbortController());
      timer = setTimeout(() => void job(input, signal), pause);
    },
  };
}
