/**
 * Settles as `work` does, or rejects with `lateError()` after `deadlineMs` on the monotonic clock.
 *
 * `work` is not cancelled; its late outcome goes to `onLate`, so that it never becomes an unhandled rejection.
 *
 * @param options `beganAt`: when the work has begun, where that is later than this call, on the monotonic clock;
 * `undefined`: it has not begun yet
 */
export function withDeadline<T>(
  work: Promise<T>,
  options: {
    deadlineMs: number;
    lateError: () => Error;
    onLate: () => void;
    beganAt?: (() => number | undefined) | undefined;
  },
): Promise<T> {
  return new Promise((resolve, reject) => {
    let late = false;
    let isExtended = false;
    let immediate: NodeJS.Immediate | undefined;
    let timer: NodeJS.Timeout;
    const due = () => {
      const now = performance.now();
      const leftMs = options.beganAt ? options.deadlineMs - (now - (options.beganAt() ?? now)) : 0;
      // Once, since the time it is counted from is known by then: not for ever where a test has stopped the clock.
      if (leftMs >= 1 && !isExtended) {
        isExtended = true;
        timer = setTimeout(due, leftMs);
        return;
      }
      // After a stall of the event loop the timer is due before the socket is read: the answer may be lying there.
      immediate = setImmediate(() => {
        late = true;
        reject(options.lateError());
      });
    };
    timer = setTimeout(due, options.deadlineMs);
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
