using System;
using System.Buffers.Binary;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Hypervisor.Embedded.Xen.Viridian;

/// <summary>
/// The synthetic interrupt controller of one vCPU and its four timers (Hypervisor Top Level Functional Specification 6.0, chapters 11 and 12): 16 sources,
/// each with a vector and a slot of 256 bytes in the message page. A timer that runs out puts a message there; where the slot is taken it waits until the
/// guest has emptied it and says so.
/// </summary>
internal sealed class SyntheticInterrupts : IStateful
{
    public const int Sources = 16;
    public const int Timers = 4;

    private const ulong Masked = 1 << 16, AutoEoi = 1 << 17, SourceBits = 0x7_00ff;
    private const ulong Enabled = 1, Periodic = 2, AutoEnable = 8, ConfigBits = 0xf_000f;
    private const int SlotBytes = 256;
    private const uint TimerExpired = 0x8000_0010;
    private const byte TimerPayload = 24, MessagePending = 1;
    private const int Unit = 100;

    /// <summary>Timers that ticked faster, four of each vCPU, would leave the machine thread no time for anything else.</summary>
    private const long MinPeriod = 500_000;
    private const long MaxTime = 1L << 62;

    private readonly Action<byte> _raise;
    private readonly IVmClock _clock;
    private readonly ulong[] _sources = new ulong[Sources];
    private readonly ulong[] _configs = new ulong[Timers];
    private readonly ulong[] _counts = new ulong[Timers];
    private readonly ulong[] _expirations = new ulong[Timers];
    private readonly VmTimer[] _timers = new VmTimer[Timers];
    private readonly GuestPage _messages, _events;
    private ulong _control;

    /// <summary>A bit for each timer whose message waits.</summary>
    private uint _waiting;

    /// <param name="raise">A vector for the vCPU's local APIC.</param>
    public SyntheticInterrupts(int vcpu, Physmap physmap, IVmClock clock, Action<byte> raise)
    {
        _clock = clock;
        _raise = raise;
        _messages = new GuestPage(physmap);
        _events = new GuestPage(physmap);
        for (var n = 0; n < Timers; n++)
        {
            var timer = n;
            _timers[n] = clock.CreateTimer($"stimer{vcpu}.{n}", () => Expired(timer));
        }
    }

    /// <summary>SCONTROL.</summary>
    public ulong Control { get => _control; set => _control = value & 1; }

    /// <summary>SIMP.</summary>
    public GuestPage Messages => _messages;

    /// <summary>SIEFP: stored; nobody signals events.</summary>
    public GuestPage Events => _events;

    public void Reset()
    {
        foreach (var timer in _timers) timer.Cancel();
        Array.Fill(_sources, Masked);
        Array.Clear(_configs);
        Array.Clear(_counts);
        Array.Clear(_expirations);
        _messages.Forget();
        _events.Forget();
        _control = 0;
        _waiting = 0;
    }

    public ulong Source(int n) => _sources[n];

    /// <returns>False for #GP: exceptions' vectors are none for interrupts.</returns>
    public bool SetSource(int n, ulong value)
    {
        if ((value & Masked) == 0 && (byte)value < 16) return false;
        _sources[n] = value & SourceBits;
        return true;
    }

    /// <summary>The guest leaves the end of this interrupt to the hypervisor.</summary>
    public bool IsAutoEoi(int vector)
    {
        foreach (var source in _sources)
            if ((source & (Masked | AutoEoi)) == AutoEoi && (byte)source == vector) return true;
        return false;
    }

    public ulong Config(int n) => _configs[n];

    public ulong Count(int n) => _counts[n];

    public void SetConfig(int n, ulong value)
    {
        value &= ConfigBits;
        if (value >> 16 == 0) value &= ~Enabled;
        _configs[n] = value;
        Start(n);
    }

    /// <param name="value">Units of 100 ns: a period, or for a timer that runs once the time. 0 stops it.</param>
    public void SetCount(int n, ulong value)
    {
        _counts[n] = value;
        if (value == 0) _configs[n] &= ~Enabled;
        else if ((_configs[n] & AutoEnable) != 0 && _configs[n] >> 16 != 0) _configs[n] |= Enabled;
        Start(n);
    }

    /// <summary>The guest has emptied a slot.</summary>
    public void EndOfMessage()
    {
        for (var n = 0; n < Timers; n++)
            if ((_waiting & (1u << n)) != 0) Deliver(n);
    }

    private void Start(int n)
    {
        _waiting &= ~(1u << n);
        _timers[n].Cancel();
        if ((_configs[n] & Enabled) == 0 || _counts[n] == 0) return;
        var ns = (long)Math.Min(_counts[n], MaxTime / Unit) * Unit;
        Arm(n, (_configs[n] & Periodic) != 0 ? _clock.Now + Math.Max(ns, MinPeriod) : ns);
    }

    private void Arm(int n, long time)
    {
        time = Math.Min(time, MaxTime);
        _expirations[n] = (ulong)time / Unit;
        _timers[n].Arm(time);
    }

    private void Expired(int n)
    {
        var isPeriodic = (_configs[n] & Periodic) != 0;
        if (!isPeriodic) _configs[n] &= ~Enabled;
        Deliver(n);
        if (!isPeriodic) return;

        // The next one is a whole number of periods on, so that ticks do not drift.
        var period = Math.Max((long)Math.Min(_counts[n], MaxTime / Unit) * Unit, MinPeriod);
        var due = (long)_expirations[n] * Unit;
        Arm(n, due + ((((_clock.Now - due) / period) + 1) * period));
    }

    /// <summary>Puts the timer's message into its slot, or notes that it waits.</summary>
    private void Deliver(int n)
    {
        var source = (int)(_configs[n] >> 16);
        _waiting |= 1u << n;
        if (_messages.Host == 0 || (_control & 1) == 0) return;
        var slot = Physmap.Bytes(_messages.Host).Slice(source * SlotBytes, SlotBytes);
        if (BinaryPrimitives.ReadUInt32LittleEndian(slot) != 0)
        {
            slot[5] |= MessagePending;
            _messages.Written();
            return;
        }

        _waiting &= ~(1u << n);
        slot[..(16 + TimerPayload)].Clear();
        slot[4] = TimerPayload;
        BinaryPrimitives.WriteUInt32LittleEndian(slot[16..], (uint)n);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[24..], _expirations[n]);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[32..], (ulong)_clock.Now / Unit);
        BinaryPrimitives.WriteUInt32LittleEndian(slot, TimerExpired);
        _messages.Written();
        if ((_sources[source] & Masked) == 0) _raise((byte)_sources[source]);
    }

    void IStateful.State(StateVisitor s)
    {
        s.U64("control", ref _control);
        s.U32("waiting", ref _waiting);
        s.Child("messages", _messages);
        s.Child("events", _events);
        for (var n = 0; n < Sources; n++) s.U64($"source{n}", ref _sources[n]);
        for (var n = 0; n < Timers; n++)
        {
            s.U64($"config{n}", ref _configs[n]);
            s.U64($"count{n}", ref _counts[n]);
            s.U64($"expiration{n}", ref _expirations[n]);
            s.Timer(_timers[n]);
        }
    }
}
