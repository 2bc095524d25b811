using System;
using System.Threading;

namespace XenDM.Interop.Xen;

/// <summary>
/// The two pages that an ioreq server shares with Xen: the ring of buffered writes and the slots of the vCPUs (xen/public/hvm/ioreq.h). Every
/// load and store here happens once and in the order that the protocol asks for; on x86 the barriers are the compiler's. A test gives its own
/// memory and plays Xen.
/// </summary>
public sealed unsafe class IoreqPages
{
    private readonly Ioreq* _slots;
    private readonly BufferedIoreqPage* _ring;

    /// <param name="ring">Host address of the page of the ring.</param>
    /// <param name="slots">Host address of the page of the slots; both must outlive this object.</param>
    public IoreqPages(nint ring, nint slots)
    {
        _ring = (BufferedIoreqPage*)ring;
        _slots = (Ioreq*)slots;
    }

    /// <summary>The guest's event channel port of a vCPU; valid once the server is enabled.</summary>
    public uint EventPort(int vcpu) => Volatile.Read(ref Slot(vcpu)->EventPort);

    /// <summary>State of a slot; what is read afterwards was written before it.</summary>
    public IoreqState State(int vcpu) => (IoreqState)(Volatile.Read(ref Slot(vcpu)->Bits) & 0x0f);

    /// <summary>Takes a READY request: marks it INPROCESS and copies it, once.</summary>
    /// <returns>False when the slot is not READY.</returns>
    public bool TryTake(int vcpu, out Ioreq request)
    {
        var slot = Slot(vcpu);
        if (State(vcpu) != IoreqState.Ready)
        {
            request = default;
            return false;
        }

        SetState(slot, IoreqState.InProcess);
        request = *slot;
        return true;
    }

    /// <summary>Answers a request that was taken.</summary>
    /// <param name="data">The value read; written only when <paramref name="isRead"/>.</param>
    /// <returns>False when the slot is no longer INPROCESS: Xen and we disagree, and the guest cannot go on.</returns>
    public bool Answer(int vcpu, bool isRead, ulong data)
    {
        var slot = Slot(vcpu);
        if (State(vcpu) != IoreqState.InProcess) return false;
        if (isRead) slot->Data = data;
        SetState(slot, IoreqState.ResponseReady);
        return true;
    }

    /// <summary>Looks at the ring without taking anything.</summary>
    /// <param name="available">Slots that wait.</param>
    /// <param name="index">Slot of the first one.</param>
    public void Peek(out uint available, out uint index)
    {
        var pointers = Volatile.Read(ref _ring->Pointers);
        var read = (uint)pointers;
        available = Math.Min((uint)(pointers >> 32) - read, BufferedIoreqPage.SlotCount);
        index = read % BufferedIoreqPage.SlotCount;
    }

    /// <summary>Copies one slot of the ring.</summary>
    /// <param name="index">Any number; the ring wraps.</param>
    public BufferedIoreq ReadSlot(uint index) =>
        *(BufferedIoreq*)((byte*)_ring + BufferedIoreqPage.SlotsOffset + ((index % BufferedIoreqPage.SlotCount) * (uint)sizeof(BufferedIoreq)));

    /// <summary>Gives slots back to Xen, which may move both pointers at the same time: therefore an atomic add.</summary>
    public void Release(uint slots) => Interlocked.Add(ref _ring->ReadPointer, slots);

    private static void SetState(Ioreq* slot, IoreqState state) => Volatile.Write(ref slot->Bits, (byte)((slot->Bits & 0xf0) | (int)state));

    private Ioreq* Slot(int vcpu)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)vcpu, (uint)XenConstants.MaxIoreqVcpus);
        return _slots + vcpu;
    }
}
