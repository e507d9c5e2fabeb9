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
    let immediate: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      // After a stall of the event loop the timer is due before the socket is read: the answer may be lying there.
      immediate = setImmediate(() => {
        late = true;
        reject(options.lateError());
      });
    }, options.deadlineMs);
    const onTime = () => {
      clearTimeout(timer);
      clearImmediate(immediate);
    };
    work.then(
      (value) => {
        if (late) return void options.onLate();
        onTime();
        resolve(value);
      },
      () => {
        if (late) return void options.onLate();
        onTime();
        // As it is: it may be an error of another realm, or whatever else somebody threw.
        resolve(work);
      },
    );
  });
}
