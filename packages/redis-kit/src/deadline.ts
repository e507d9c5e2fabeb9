/**
 * Settles as `work` does, or rejects with `lateError()` after `deadlineMs` on the monotonic clock.
 *
 * `work` is not cancelled; its late outcome goes to `onLate`, so that it never becomes an unhandled rejection.
 */
export function withDeadline<T>(
  work: Promise<T>,
  options: { deadlineMs: number; lateError: () => Error; onLate: () => void },
): Promise<T> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(options.lateError());
    }, options.deadlineMs);
    work.then(
      (value) => {
        if (late) return void options.onLate();
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        if (late) return void options.onLate();
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
