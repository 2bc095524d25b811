using System;
using System.Runtime.CompilerServices;
using XenDM.Core.State;
using XenDM.Cpu;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>Why a vCPU does not run although it is up.</summary>
internal enum VcpuWait
{
    None,

    /// <summary>SCHEDOP_block: until an event or an interrupt.</summary>
    Block,

    /// <summary>SCHEDOP_poll: also until a port is pending, or the time has come.</summary>
    Poll,
}

/// <summary>RUNSTATE_* of xen/public/vcpu.h.</summary>
internal enum Runstate
{
    Running = 0,
    Runnable = 1,
    Blocked = 2,
    Offline = 3,
}

/// <summary>
/// One vCPU as Xen sees it: where its vcpu_info lies (xen/public/xen.h), how its time is told, what it waits for and how long it was in which
/// state (xen/public/vcpu.h). The pages are held while they are in use, so that the guest can move its RAM as it likes.
/// </summary>
internal sealed unsafe class XenVcpu(int index, X86Cpu cpu, Physmap physmap) : IStateful
{
    private const int UpcallPendingAt = 0;
    private const int TimeAt = 32;
    public const int TimeBytes = 32;

    /// <summary>1 GHz: TSC ticks times 2 times one half are nanoseconds.</summary>
    private const uint Multiplier = 0x8000_0000;
    private const byte Shift = 1;
    private const byte TscStable = 1;

    private byte* _info;
    private nint _infoPage;
    private ulong _infoAddress;
    private ulong _runstateAddress;
    private bool _runstateIs64;
    private ulong _timeAddress;
    private bool _timeIsStale;
    private ulong _timeNow;
    private ulong _timeTsc;
    private ulong _entered;
    private readonly ulong[] _times = new ulong[4];
    private VcpuWait _wait;
    private Runstate _state;
    private uint _pollPort;
    private byte _upcallVector;
    private bool _isInitialised;

    public int Index => index;

    public X86Cpu Cpu => cpu;

    /// <summary>HVMOP_set_evtchn_upcall_vector; 0 for none.</summary>
    public byte UpcallVector { get => _upcallVector; set => _upcallVector = value; }

    public VcpuWait Wait => _wait;

    /// <summary>The only port that a poll waits for; 0 for several.</summary>
    public uint PollPort => _pollPort;

    /// <summary>VCPUOP_initialise was done, or the vCPU ran already.</summary>
    public bool IsInitialised { get => _isInitialised; set => _isInitialised = value; }

    /// <summary>The vCPU has a vcpu_info of its own.</summary>
    public bool HasOwnInfo => _infoPage != 0;

    /// <summary>evtchn_upcall_pending.</summary>
    public bool UpcallPending => _info[UpcallPendingAt] != 0;

    public void Reset(SharedInfo shared)
    {
        if (_infoPage != 0) physmap.Release(_infoPage);
        _info = shared.VcpuInfo(index);
        _infoPage = 0;
        _infoAddress = _runstateAddress = _timeAddress = 0;
        _timeIsStale = _isInitialised = false;
        _wait = VcpuWait.None;
        _pollPort = 0;
        _upcallVector = 0;
        _state = index == 0 ? Runstate.Running : Runstate.Offline;
        _entered = 0;
        Array.Clear(_times);
    }

    /// <summary>Moves vcpu_info to a page that the caller holds for the vCPU, with what it says.</summary>
    public void MoveInfo(nint page, ulong address)
    {
        var to = (byte*)page + (address & 0xfff);
        Buffer.MemoryCopy(_info, to, SharedInfo.VcpuInfoBytes, SharedInfo.VcpuInfoBytes);
        _info = to;
        _infoPage = page;
        _infoAddress = address;
    }

    /// <returns>The byte was clear: the vCPU has to be told.</returns>
    public bool TrySetUpcallPending()
    {
        if (_info[UpcallPendingAt] != 0) return false;
        _info[UpcallPendingAt] = 1;
        return true;
    }

    /// <summary>Marks a word of the two-level port bits.</summary>
    /// <returns>It was not marked.</returns>
    public bool TrySelect(int word, bool is64)
    {
        var at = _info + (is64 ? 8 : 4) + (word / 8);
        var bit = (byte)(1 << (word & 7));
        if ((*at & bit) != 0) return false;
        *at |= bit;
        return true;
    }

    /// <summary>Every word of the port bits is marked, and the vCPU is to look: nothing is lost while vcpu_info moves.</summary>
    public void SelectAll(bool is64)
    {
        new Span<byte>(_info + (is64 ? 8 : 4), is64 ? 8 : 4).Fill(0xff);
        _info[UpcallPendingAt] = 1;
    }

    // Time.

    /// <summary>The relation of the TSC to guest time, which stays as it is while both run at one rate.</summary>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="tsc">Of the vCPU at that time.</param>
    public void SetTime(ulong now, ulong tsc)
    {
        (_timeNow, _timeTsc) = (now, tsc);
        FillTime(_info + TimeAt);
        _timeIsStale = _timeAddress != 0;
    }

    /// <summary>The time is written anew where the guest cleared it, as hvmloader does with all of vcpu_info.</summary>
    public void RepairTime()
    {
        if (Unsafe.ReadUnaligned<uint>(_info + TimeAt + 24) != Multiplier) FillTime(_info + TimeAt);
    }

    /// <summary>A second place for the time (VCPUOP_register_vcpu_time_memory_area); filled when the vCPU runs next, for it is in its memory.</summary>
    public void RegisterTime(ulong linear)
    {
        _timeAddress = linear;
        _timeIsStale = linear != 0;
    }

    private void FillTime(byte* time)
    {
        var version = Unsafe.ReadUnaligned<uint>(time) | 1;
        Unsafe.WriteUnaligned(time, version);
        Unsafe.WriteUnaligned(time + 8, _timeTsc);
        Unsafe.WriteUnaligned(time + 16, _timeNow);
        Unsafe.WriteUnaligned(time + 24, Multiplier);
        time[28] = Shift;
        time[29] = TscStable;
        Unsafe.WriteUnaligned(time, version + 1);
    }

    /// <summary>The second place of the time has to be filled.</summary>
    public bool HasStaleTime => _timeIsStale;

    /// <summary>The vCPU is about to run, or just registered a place: what the guest wants to know is written there.</summary>
    public void UpdateAreas(ulong now)
    {
        if (_timeIsStale)
        {
            _timeIsStale = false;
            Span<byte> time = stackalloc byte[TimeBytes];
            if (cpu.TryCopyFromGuest(_timeAddress, time))
            {
                fixed (byte* start = time) FillTime(start);
                cpu.TryCopyToGuest(_timeAddress, time);
            }
        }

        if (_runstateAddress == 0) return;
        Span<byte> area = stackalloc byte[48];
        cpu.TryCopyToGuest(_runstateAddress, WriteRunstate(area, _runstateIs64, now));
    }

    // Running and waiting.

    /// <summary>VCPUOP_register_runstate_memory_area.</summary>
    public void RegisterRunstate(ulong linear, bool is64) => (_runstateAddress, _runstateIs64) = (linear, is64);

    public void SetState(Runstate state, ulong now)
    {
        if (state == _state) return;
        _times[(int)_state] += now - _entered;
        (_state, _entered) = (state, now);
    }

    public Runstate State => _state;

    /// <summary>struct vcpu_runstate_info.</summary>
    /// <returns>The part of the buffer that it takes.</returns>
    public Span<byte> WriteRunstate(Span<byte> area, bool is64, ulong now)
    {
        var at = is64 ? 8 : 4;
        area.Clear();
        area[0] = (byte)_state;
        fixed (byte* start = area)
        {
            Unsafe.WriteUnaligned(start + at, _entered);
            for (var n = 0; n < 4; n++) Unsafe.WriteUnaligned(start + at + 8 + (n * 8), _times[n] + (n == (int)_state ? now - _entered : 0));
        }

        return area[..(at + 40)];
    }

    public void StartWait(VcpuWait wait, uint pollPort = 0)
    {
        (_wait, _pollPort) = (wait, pollPort);
        cpu.RequestExit();
    }

    /// <summary>Something came that the vCPU may wait for.</summary>
    public void Wake() => _wait = VcpuWait.None;

    void IStateful.State(StateVisitor s)
    {
        s.U64("info", ref _infoAddress);
        s.U64("runstate-area", ref _runstateAddress);
        s.Bool("runstate-is64", ref _runstateIs64);
        s.U64("time-area", ref _timeAddress);
        s.Bool("time-stale", ref _timeIsStale);
        s.U64("time-now", ref _timeNow);
        s.U64("time-tsc", ref _timeTsc);
        s.U64("entered", ref _entered);
        for (var n = 0; n < 4; n++) s.U64($"time-in-state{n}", ref _times[n]);
        s.Enum("wait", ref _wait);
        s.Enum("state", ref _state);
        s.U32("poll-port", ref _pollPort);
        s.U8("upcall-vector", ref _upcallVector);
        s.Bool("initialised", ref _isInitialised);
    }
}
