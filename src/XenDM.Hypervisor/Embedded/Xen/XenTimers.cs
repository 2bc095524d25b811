using System;
using XenDM.Core.Hypervisor;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>Timers that the guest sets by hypercalls: one-shot and periodic for each vCPU, the end of a poll, and the domain's watchdogs.</summary>
internal sealed class XenTimers : IStateful
{
    /// <summary>NR_DOMAIN_WATCHDOG_TIMERS.</summary>
    public const int Watchdogs = 2;

    /// <summary>The shortest period that Xen takes.</summary>
    public const ulong MinPeriod = 1_000_000;
    private const ulong MaxTime = 1ul << 62;

    private readonly IVmClock _clock;
    private readonly VmTimer[] _single, _periodic, _poll;
    private readonly VmTimer[] _watchdogs = new VmTimer[Watchdogs];
    private readonly ulong[] _periods;
    private readonly Action<int> _expired;

    /// <param name="expired">A timer of a vCPU has run out.</param>
    /// <param name="poll">The time of a vCPU that polls is over.</param>
    /// <param name="shutdown">A watchdog was not fed.</param>
    public XenTimers(IVmClock clock, int vcpus, Action<int> expired, Action<int> poll, Action<ShutdownReason> shutdown)
    {
        _clock = clock;
        _expired = expired;
        _single = new VmTimer[vcpus];
        _periodic = new VmTimer[vcpus];
        _poll = new VmTimer[vcpus];
        _periods = new ulong[vcpus];
        for (var n = 0; n < vcpus; n++)
        {
            var vcpu = n;
            _single[n] = clock.CreateTimer($"xen-single{n}", () => _expired(vcpu));
            _periodic[n] = clock.CreateTimer($"xen-periodic{n}", () => Tick(vcpu));
            _poll[n] = clock.CreateTimer($"xen-poll{n}", () => poll(vcpu));
        }

        for (var n = 0; n < Watchdogs; n++) _watchdogs[n] = clock.CreateTimer($"xen-watchdog{n}", () => shutdown(ShutdownReason.Crash));
    }

    public void Reset()
    {
        foreach (var timers in (VmTimer[][])[_single, _periodic, _poll, _watchdogs])
            foreach (var timer in timers) timer.Cancel();
        Array.Clear(_periods);
    }

    /// <param name="deadline">Guest time in ns.</param>
    public void ArmSingle(int vcpu, ulong deadline) => _single[vcpu].Arm(Bound(deadline));

    public void StopSingle(int vcpu) => _single[vcpu].Cancel();

    public void ArmPoll(int vcpu, ulong deadline) => _poll[vcpu].Arm(Bound(deadline));

    public void StopPoll(int vcpu)
    {
        if (_poll[vcpu].IsArmed) _poll[vcpu].Cancel();
    }

    /// <summary>A tick every so many nanoseconds; 0 stops.</summary>
    public void SetPeriod(int vcpu, ulong period)
    {
        _periods[vcpu] = period;
        if (period == 0) _periodic[vcpu].Cancel();
        else _periodic[vcpu].Arm(Bound((ulong)_clock.Now + period));
    }

    /// <summary>SCHEDOP_watchdog (xen/common/sched/core.c, domain_watchdog).</summary>
    /// <param name="id">0 for a new one.</param>
    /// <param name="seconds">0 ends it.</param>
    /// <returns>The new one's id, 0, or a negative errno.</returns>
    public long SetWatchdog(uint id, uint seconds)
    {
        if (id > Watchdogs) return -Errno.EINVAL;
        var deadline = _clock.Now + (seconds * 1_000_000_000L);
        if (id == 0)
        {
            var free = Array.FindIndex(_watchdogs, static t => !t.IsArmed);
            if (free < 0) return -Errno.ENOSPC;
            _watchdogs[free].Arm(deadline);
            return free + 1;
        }

        var timer = _watchdogs[id - 1];
        if (!timer.IsArmed) return -Errno.EINVAL;
        if (seconds == 0) timer.Cancel();
        else timer.Arm(deadline);
        return 0;
    }

    private void Tick(int vcpu)
    {
        if (_periods[vcpu] == 0) return;
        _periodic[vcpu].Arm(_clock.Now + (long)_periods[vcpu]);
        _expired(vcpu);
    }

    private static long Bound(ulong time) => (long)Math.Min(time, MaxTime);

    public void State(StateVisitor s)
    {
        for (var n = 0; n < _single.Length; n++)
        {
            s.Timer(_single[n]);
            s.Timer(_periodic[n]);
            s.Timer(_poll[n]);
            s.U64($"period{n}", ref _periods[n]);
        }

        foreach (var timer in _watchdogs) s.Timer(timer);
    }
}
