using System;
using System.Runtime.InteropServices;
using System.Threading;
using XenDM.Interop.Xen;

namespace XenDM.Interop.Tests.Xen;

/// <summary>The test plays Xen on two pages of ordinary memory (xen/public/hvm/ioreq.h).</summary>
public sealed unsafe class IoreqPagesTests : IDisposable
{
    private readonly byte* _memory = (byte*)NativeMemory.AlignedAlloc(2 * XenConstants.PageSize, XenConstants.PageSize);
    private readonly IoreqPages _pages;

    public IoreqPagesTests()
    {
        NativeMemory.Clear(_memory, 2 * XenConstants.PageSize);
        _pages = new IoreqPages((nint)_memory, (nint)_memory + XenConstants.PageSize);
    }

    private BufferedIoreqPage* Ring => (BufferedIoreqPage*)_memory;

    private Ioreq* Slots => (Ioreq*)(_memory + XenConstants.PageSize);

    public void Dispose() => NativeMemory.AlignedFree(_memory);

    [Fact]
    public void Request_GoesOnceThroughItsStates()
    {
        Slots[127] = new Ioreq { Address = 0x1f0, Size = 2, Count = 1, EventPort = 77, Bits = 0x20, Type = IoreqType.Port };
        Assert.Equal(77u, _pages.EventPort(127));
        Assert.False(_pages.TryTake(127, out _));
        Assert.False(_pages.Answer(127, isRead: true, 1));

        Slots[127].State = IoreqState.Ready;
        Assert.Equal(IoreqState.Ready, _pages.State(127));
        Assert.True(_pages.TryTake(127, out var request));
        Assert.True(request is { Address: 0x1f0, Size: 2, Count: 1, IsRead: true, Type: IoreqType.Port });
        Assert.Equal(0x22, Slots[127].Bits); // the direction stays beside the state
        Assert.False(_pages.TryTake(127, out _));

        // What the page says from here on no longer counts: the copy was made once.
        Slots[127].Size = 4096;
        Assert.Equal(2u, request.Size);
        Assert.True(_pages.Answer(127, isRead: true, 0xbeef));
        Assert.Equal(0xbeefUL, Slots[127].Data);
        Assert.Equal(IoreqState.ResponseReady, _pages.State(127));
        Assert.False(_pages.Answer(127, isRead: true, 0));
    }

    [Fact]
    public void Answer_OfAWrite_LeavesTheData()
    {
        Slots[0] = new Ioreq { Data = 0x55, Size = 1, Count = 1, Bits = (byte)IoreqState.Ready };
        Assert.True(_pages.TryTake(0, out _));
        Assert.True(_pages.Answer(0, isRead: false, 0xaa));
        Assert.Equal(0x55UL, Slots[0].Data);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(128)]
    public void Vcpu_OutsideOfThePage_IsRefused(int vcpu) => Assert.Throws<ArgumentOutOfRangeException>(() => _pages.State(vcpu));

    [Theory]
    [InlineData(0u, 0u, 0u, 0u)]
    [InlineData(510u, 512u, 2u, 510u)]
    [InlineData(511u, 512u, 1u, 0u)]
    [InlineData(0xffffffffu, 1u, 2u, 0xffffffffu % 511)] // the pointers run free
    [InlineData(5u, 0u, 511u, 5u)] // never more than the ring holds, whatever the page says
    public void Peek_CountsWhatWaits(uint read, uint write, uint available, uint index)
    {
        Ring->Pointers = ((ulong)write << 32) | read;
        _pages.Peek(out var count, out var first);
        Assert.Equal((available, index), (count, first));
        Assert.Equal((read, write), (Ring->ReadPointer, Ring->WritePointer));
    }

    [Fact]
    public void ReadSlot_WrapsAround()
    {
        Slot(510) = new BufferedIoreq { Header = 0xa0000c00, Data = 1 };
        Slot(0) = new BufferedIoreq { Header = 0xa0000c00, Data = 2 };
        Assert.Equal(1u, _pages.ReadSlot(510).Data);
        Assert.Equal(2u, _pages.ReadSlot(511).Data);
        Assert.Equal(8u, _pages.ReadSlot(511).Size);
    }

    /// <summary>Xen fills the ring and keeps the pointers small with a 64-bit exchange, while they are read and moved here.</summary>
    [Fact]
    public void Ring_UnderAProducerThatMovesBothPointers_LosesNothing()
    {
        const uint total = 200_000;
        var xen = new Thread(() =>
        {
            for (uint value = 0; value < total;)
            {
                var pointers = Volatile.Read(ref Ring->Pointers);
                var (read, write) = ((uint)pointers, (uint)(pointers >> 32));
                if (write - read >= BufferedIoreqPage.SlotCount)
                {
                    Thread.Yield();
                    continue;
                }

                Slot(write % BufferedIoreqPage.SlotCount) = new BufferedIoreq { Data = value++ };
                Interlocked.Increment(ref Ring->WritePointer);
                for (pointers = Volatile.Read(ref Ring->Pointers); (uint)pointers >= BufferedIoreqPage.SlotCount;)
                {
                    const ulong both = ((ulong)BufferedIoreqPage.SlotCount << 32) | BufferedIoreqPage.SlotCount;
                    var less = pointers - (both * ((uint)pointers / BufferedIoreqPage.SlotCount));
                    var seen = Interlocked.CompareExchange(ref Ring->Pointers, less, pointers);
                    if (seen == pointers) break;
                    pointers = seen;
                }
            }
        });
        xen.Start();
        var wrong = 0;
        for (uint expected = 0; expected < total;)
        {
            _pages.Peek(out var available, out var index);
            if (available == 0)
            {
                if (!xen.IsAlive && (uint)(Volatile.Read(ref Ring->Pointers) >> 32) == Volatile.Read(ref Ring->ReadPointer)) break;
                Thread.Yield();
                continue;
            }

            if (_pages.ReadSlot(index).Data != expected++) wrong++;
            _pages.Release(1);
        }

        xen.Join();
        Assert.Equal(0, wrong);
        _pages.Peek(out var left, out _);
        Assert.Equal(0u, left);
    }

    /// <summary>Each side waits for the other's state and looks at what was written before it.</summary>
    [Fact]
    public void Request_UnderAConcurrentXen_IsSeenWhole()
    {
        const ulong rounds = 20_000;
        var wrongAnswers = 0;
        var xen = new Thread(() =>
        {
            for (ulong round = 1; round <= rounds; round++)
            {
                Slots[3].Address = round;
                Slots[3].Count = (uint)round;
                Volatile.Write(ref Slots[3].Bits, 0x20 | (byte)IoreqState.Ready);
                while ((Volatile.Read(ref Slots[3].Bits) & 0x0f) != (byte)IoreqState.ResponseReady) Thread.Yield();
                if (Slots[3].Data != ~round) wrongAnswers++;
                Volatile.Write(ref Slots[3].Bits, (byte)IoreqState.None);
            }
        });
        xen.Start();
        var torn = 0;
        for (ulong round = 1; round <= rounds;)
        {
            if (!_pages.TryTake(3, out var request))
            {
                Thread.Yield();
                continue;
            }

            if (request.Address != round || request.Count != (uint)round) torn++;
            _pages.Answer(3, isRead: true, ~round);
            round++;
        }

        xen.Join();
        Assert.Equal((0, 0), (torn, wrongAnswers));
    }

    private ref BufferedIoreq Slot(uint index) => ref *(BufferedIoreq*)(_memory + BufferedIoreqPage.SlotsOffset + (index * 8));
}
