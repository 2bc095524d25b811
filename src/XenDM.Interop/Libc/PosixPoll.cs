using System;

namespace XenDM.Interop.Libc;

public static unsafe partial class Posix
{
    private const int EventFdFlags = 0x80800; // EFD_CLOEXEC | EFD_NONBLOCK
    private const int ClockMonotonic = 1;

    /// <summary>Waits until a descriptor is ready or the time is up. A signal ends the wait with -EINTR.</summary>
    /// <param name="timeoutNanoseconds">Negative: for ever. 0: just look.</param>
    /// <returns>Number of entries that have something returned; 0 when the time is up; the negative errno.</returns>
    public static int Poll(Span<PollFd> fds, long timeoutNanoseconds)
    {
        fixed (PollFd* p = fds)
        {
            if (timeoutNanoseconds < 0) return (int)Result(LibC.ppoll(p, (nuint)fds.Length, null, null));
            var (seconds, rest) = Math.DivRem(timeoutNanoseconds, 1_000_000_000L);
            var time = new TimeSpec { Seconds = seconds, Nanoseconds = rest };
            return (int)Result(LibC.ppoll(p, (nuint)fds.Length, &time, null));
        }
    }

    /// <summary>A counter that wakes a poll: non-blocking, close-on-exec.</summary>
    public static int EventFd(uint initial = 0) => (int)Result(LibC.eventfd(initial, EventFdFlags));

    /// <summary>Adds one to an eventfd. From any thread.</summary>
    public static int SignalEventFd(int fd)
    {
        ulong one = 1;
        long result;
        do result = Result(LibC.write(fd, &one, sizeof(ulong)));
        while (result == -Errno.EINTR);
        return result < 0 ? (int)result : 0;
    }

    /// <summary>Sets an eventfd to zero.</summary>
    /// <returns>False when it was zero.</returns>
    public static bool DrainEventFd(int fd)
    {
        ulong count;
        long result;
        do result = Result(LibC.read(fd, &count, sizeof(ulong)));
        while (result == -Errno.EINTR);
        return result == sizeof(ulong);
    }

    /// <summary>CLOCK_MONOTONIC. Costs some tens of nanoseconds: the kernel is not entered.</summary>
    public static long MonotonicNanoseconds()
    {
        TimeSpec time;
        LibC.clock_gettime(ClockMonotonic, &time);
        return (time.Seconds * 1_000_000_000L) + time.Nanoseconds;
    }
}
