// Runs a job so that calls during a run collapse into one more run afterwards: a dragged slider sends one request at a time.

export function latest(job: () => Promise<void>): () => void {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await job();
      } while (again);
    } finally {
      running = false;
    }
  };
}
