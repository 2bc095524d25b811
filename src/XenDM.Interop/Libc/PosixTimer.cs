namespace XenDM.Interop.Libc;

public static unsafe partial class Posix
{
    private const int TimerFdFlags = 0x80800; // TFD_CLOEXEC | TFD_NONBLOCK

    /// <summary>A descriptor that becomes readable at a time of the monotonic clock: non-blocking, close-on-exec.</summary>
    public static int TimerFd() => (int)Result(LibC.timerfd_create(ClockMonotonic, TimerFdFlags));

    /// <summary>Sets the time of a timerfd; it is not readable any more until then.</summary>
    /// <param name="afterNanoseconds">From now on, at least 1; negative for never.</param>
    public static int SetTimer(int fd, long afterNanoseconds)
    {
        var times = stackalloc TimeSpec[2];
        times[0] = default;
        times[1] = afterNanoseconds < 0 ? default : new TimeSpec { Seconds = afterNanoseconds / 1_000_000_000, Nanoseconds = System.Math.Max(1, afterNanoseconds % 1_000_000_000) };
        return (int)Result(LibC.timerfd_settime(fd, 0, times, null));
    }
}
