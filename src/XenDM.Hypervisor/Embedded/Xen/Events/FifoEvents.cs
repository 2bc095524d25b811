using System;
using System.Runtime.CompilerServices;
using XenDM.Core.State;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>
/// The FIFO event ABI: a word a port in pages that the guest gives, linked to queues by priority whose heads lie in each vCPU's control block
/// (xen/public/event_channel.h, xen/common/event_fifo.c). Links are the guest's memory: they are followed by the guest only, Xen keeps the tails.
/// </summary>
internal sealed unsafe class FifoEvents(Physmap physmap, int vcpus) : IStateful
{
    public const int Priorities = 16;
    public const byte DefaultPriority = 7;

    /// <summary>Bits of a link.</summary>
    public const byte LinkBits = 17;
    private const uint LinkMask = (1u << LinkBits) - 1;
    private const uint Linked = 1u << 29;
    private const uint Masked = 1u << 30;
    private const uint Pending = 1u << 31;
    private const int WordsPerPage = 1024;
    private const int MaxPages = 128;
    private const uint ControlBytes = 72;
    private const int HeadAt = 8;

    private readonly nint[] _arrays = new nint[MaxPages];
    private readonly ulong[] _arrayFrames = new ulong[MaxPages];
    private readonly nint[] _controls = new nint[vcpus];
    private readonly ulong[] _controlAddresses = new ulong[vcpus];
    private readonly uint[] _tails = new uint[vcpus * Priorities];
    private int _pages;
    private bool _isOn;

    /// <summary>The guest uses this ABI.</summary>
    public bool IsOn => _isOn;

    public void Reset()
    {
        for (var n = 0; n < _pages; n++) physmap.Release(_arrays[n]);
        foreach (var control in _controls)
            if (control != 0) physmap.Release(control & ~0xfff);
        Array.Clear(_arrays);
        Array.Clear(_arrayFrames);
        Array.Clear(_controls);
        Array.Clear(_controlAddresses);
        Array.Clear(_tails);
        _pages = 0;
        _isOn = false;
    }

    /// <summary>EVTCHNOP_init_control: the control block of a vCPU. The first one switches the ABI.</summary>
    /// <returns>0, or a negative errno.</returns>
    public long SetControl(int vcpu, ulong gfn, uint offset)
    {
        if ((offset & 7) != 0 || offset > 4096 - ControlBytes || _controls[vcpu] != 0) return -Errno.EINVAL;
        if (!physmap.TryHold(gfn, out var page)) return -Errno.EINVAL;
        _controls[vcpu] = page + (nint)offset;
        _controlAddresses[vcpu] = (gfn << 12) | offset;
        _isOn = true;
        return 0;
    }

    /// <summary>EVTCHNOP_expand_array: the words of the next 1024 ports.</summary>
    /// <returns>0, or a negative errno.</returns>
    public long AddArray(ulong gfn, out int first)
    {
        first = _pages * WordsPerPage;
        if (!_isOn) return -Errno.EOPNOTSUPP;
        if (_pages == MaxPages) return -Errno.ENOSPC;
        if (!physmap.TryHold(gfn, out var page)) return -Errno.EINVAL;
        _arrays[_pages] = page;
        _arrayFrames[_pages++] = gfn;
        return 0;
    }

    public bool IsPending(uint port) => Word(port) is var word && word != null && (*word & Pending) != 0;

    public bool IsMasked(uint port) => Word(port) is var word && (word == null || (*word & Masked) != 0);

    public void ClearPending(uint port)
    {
        var word = Word(port);
        if (word != null) *word &= ~Pending;
    }

    /// <summary>Marks a port and puts it at the end of its queue.</summary>
    /// <param name="tell">The vCPU has to look: its queue was empty.</param>
    /// <returns>The port was not pending.</returns>
    public bool SetPending(uint number, ref EventPort port, out bool tell)
    {
        tell = false;
        var word = Word(number);
        if (word == null)
        {
            var first = !port.PendingBeforeArray;
            port.PendingBeforeArray = true;
            return first;
        }

        var isNew = (*word & Pending) == 0;
        *word |= Pending;
        var control = (byte*)_controls[port.Vcpu];
        if ((*word & (Masked | Linked)) != 0 || control == null) return isNew;
        *word |= Linked;

        // A port that the guest unlinked may still be the last one of its old queue as far as Xen knows.
        ref var oldTail = ref _tails[(port.LastVcpu * Priorities) + port.LastPriority];
        if (oldTail == number) oldTail = 0;
        (port.LastVcpu, port.LastPriority) = (port.Vcpu, port.Priority);
        ref var tail = ref _tails[(port.Vcpu * Priorities) + port.Priority];
        var linked = tail != 0 && TryLink(tail, number);
        tail = number;
        if (linked) return isNew;
        Unsafe.WriteUnaligned(control + HeadAt + (port.Priority * 4), number);
        var ready = Unsafe.ReadUnaligned<uint>(control);
        tell = (ready & (1u << port.Priority)) == 0;
        Unsafe.WriteUnaligned(control, ready | (1u << port.Priority));
        return isNew;
    }

    /// <returns>The port is pending, and has to be put on its queue.</returns>
    public bool Unmask(uint port)
    {
        var word = Word(port);
        if (word == null) return false;
        *word &= ~Masked;
        return (*word & Pending) != 0;
    }

    private bool TryLink(uint tail, uint next)
    {
        var word = Word(tail);
        if (word == null || (*word & Linked) == 0) return false;
        *word = (*word & ~LinkMask) | next;
        return true;
    }

    private uint* Word(uint port)
    {
        var page = port / WordsPerPage;
        return page < _pages ? (uint*)_arrays[page] + (port % WordsPerPage) : null;
    }

    public void State(StateVisitor s)
    {
        s.Bool("on", ref _isOn);
        s.I32("pages", ref _pages, 0, MaxPages);
        for (var n = 0; n < _pages; n++) s.U64($"array{n}", ref _arrayFrames[n]);
        for (var n = 0; n < vcpus; n++) s.U64($"control{n}", ref _controlAddresses[n]);
        for (var n = 0; n < _tails.Length; n++) s.U32($"tail{n}", ref _tails[n]);
    }
}
