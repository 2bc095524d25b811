using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Testing;

namespace XenDM.Core.Tests.Pci;

public class PciFunctionTests
{
    private readonly TestBoard _board = new();
    private readonly Card _card;

    public PciFunctionTests()
    {
        _card = new Card(_board.Ram);
        _board.Pci.Add(_card, 3);
    }

    [Fact]
    public void AbsentFunctionsReadOnes()
    {
        Assert.Equal(0xffff_ffffu, _board.ConfigRead(4, 0, 0, 4));
        Assert.Equal(0x1111_5853u, _board.ConfigRead(3, 0, 0, 4));
        Assert.Equal(0xffffu, (uint)_board.Pci.Read((1ul << 24) | (3 << 19), 2));
    }

    [Fact]
    public void BarIsSizedPlacedAndHidden()
    {
        _board.ConfigWrite(3, 0, 0x10, 4, uint.MaxValue);
        Assert.Equal(0xffff_ff01u, _board.ConfigRead(3, 0, 0x10, 4));
        _board.ConfigWrite(3, 0, 0x10, 4, 0xc000);
        Assert.Equal(0xff, _board.In8(0xc004));
        _board.ConfigWrite(3, 0, 4, 2, 1);
        Assert.Equal(0x04, _board.In8(0xc004));
        _board.ConfigWrite(3, 0, 0x10, 4, 0xc100);
        Assert.Equal(0x04, _board.In8(0xc104));
        Assert.Equal(0xff, _board.In8(0xc004));
        _board.ConfigWrite(3, 0, 4, 2, 0);
        Assert.Equal(0xff, _board.In8(0xc104));
    }

    [Fact]
    public void BarOverTheEndOfTheSpaceIsHidden()
    {
        _board.ConfigWrite(3, 0, 4, 2, 3);
        _board.ConfigWrite(3, 0, 0x10, 4, uint.MaxValue);
        _board.ConfigWrite(3, 0, 0x14, 4, uint.MaxValue);
        Assert.Empty(_board.Memory.ClaimedRanges());
    }

    [Fact]
    public void BusMasterEnableGatesDma()
    {
        Assert.False(_card.Poke());
        _board.ConfigWrite(3, 0, 4, 2, 4);
        Assert.True(_card.Poke());
    }

    [Fact]
    public void InterruptDisableMasksTheLineAndStatusShowsIt()
    {
        _card.Raise(true);
        Assert.True(_board.Hypervisor.Intx[12]);
        _board.ConfigWrite(3, 0, 4, 2, 0x400);
        Assert.False(_board.Hypervisor.Intx[12]);
        Assert.Equal(8u, _board.ConfigRead(3, 0, 6, 2) & 8);
    }

    [Fact]
    public void RemovedFunctionLeavesNothingBehind()
    {
        _board.ConfigWrite(3, 0, 0x10, 4, 0xc000);
        _board.ConfigWrite(3, 0, 4, 2, 1);
        _card.Raise(true);
        _board.Pci.Remove(_card);
        Assert.Equal(0xff, _board.In8(0xc004));
        Assert.False(_board.Hypervisor.Intx[12]);
        Assert.Empty(_board.Hypervisor.PciFunctions);
        Assert.Equal(0xffff_ffffu, _board.ConfigRead(3, 0, 0, 4));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(
        static () =>
        {
            var board = new TestBoard();
            var card = new Card(board.Ram);
            board.Pci.Add(card, 3);
            return (board, card);
        },
        static (board, card) =>
        {
            board.ConfigWrite(3, 0, 0x10, 4, 0xc000);
            board.ConfigWrite(3, 0, 4, 2, 7);
            card.Raise(true);
        },
        "core-pci-function");

    [Theory]
    [InlineData(254, 4)]
    [InlineData(4095, 1)]
    [InlineData(256, 2)]
    public void RegistersOutOfRangeReadOnes(int register, int size) => Assert.Equal((uint)AddressSpace.Mask(size), _board.ConfigRead(3, 0, register, size));

    private sealed class Card : PciFunction, IIoRegion
    {
        public Card(IGuestMemory ram)
            : base("card", 0x5853, 0x1111, 0xff8000, 1, ram)
        {
            SetInterruptPin(1);
            AddBar(0, BarKind.Io, 0x100, this, "io");
            AddBar(1, BarKind.Memory, 0x1000, this, "mmio");
        }

        public bool Poke() => Dma.TryWrite(0, [1]);

        public void Raise(bool level) => SetIntx(level);

        public ulong Read(ulong offset, int size) => offset;

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }
}
