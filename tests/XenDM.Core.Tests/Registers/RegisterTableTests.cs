using System;
using XenDM.Core.Registers;
using XenDM.Testing;

namespace XenDM.Core.Tests.Registers;

public class RegisterTableTests
{
    private readonly Chip _chip = new();

    private static readonly RegisterTable<Chip> s_table = new RegisterTable<Chip>("chip", 16)
        .Byte(0, "CTL", static c => ref c.Control, reset: 0x12, mask: 0x0f)
        .Byte(1, "STS", static c => ref c.Status, reset: 0xff, mask: 0, clear: 0x0f)
        .Byte(2, "EVT", static c => ref c.Event, mask: 0xff, readClear: 0x81)
        .Computed(3, 1, "DAT", read: static c => ++c.Reads)
        .Dword(4, "PTR", static c => ref c.Pointer, mask: 0xffff_fffc, after: static c => c.Changes++)
        .Word(8, "CNT", static c => ref c.Counter)
        .Reserved(10, 6, fill: 0xee)
        .Build();

    [Fact]
    public void ResetPutsEveryStoredRegisterToItsValue()
    {
        s_table.Reset(_chip);
        Assert.Equal((0x12, 0xff), (_chip.Control, _chip.Status));
    }

    [Fact]
    public void OnlyWritableBitsChange()
    {
        s_table.Reset(_chip);
        s_table.Write(_chip, 0, 1, 0xff);
        Assert.Equal(0x1f, _chip.Control);
    }

    [Fact]
    public void OnesClear()
    {
        s_table.Reset(_chip);
        s_table.Write(_chip, 1, 1, 0x33);
        Assert.Equal(0xfc, _chip.Status);
    }

    [Fact]
    public void ReadingClears()
    {
        s_table.Write(_chip, 2, 1, 0xc3);
        Assert.Equal(0xc3ul, s_table.Read(_chip, 2, 1));
        Assert.Equal(0x42ul, s_table.Read(_chip, 2, 1));
    }

    [Fact]
    public void WideAccessIsSplitLowToHigh()
    {
        s_table.Write(_chip, 0, 4, 0x00_c3_00_05);
        Assert.Equal((0x05, 0xc3), (_chip.Control, _chip.Event));
    }

    [Fact]
    public void PartOfADwordIsMerged()
    {
        s_table.Write(_chip, 4, 4, 0x11223344);
        s_table.Write(_chip, 5, 1, 0xff);
        Assert.Equal(0x1122ff44u, _chip.Pointer);
        Assert.Equal(2, _chip.Changes);
        Assert.Equal(0x22fful, s_table.Read(_chip, 5, 2));
    }

    [Fact]
    public void PartialWriteClearsNothingInTheOtherBytes()
    {
        var table = new RegisterTable<Chip>("w1c", 4).Dword(0, "ST", static c => ref c.Pointer, mask: 0, clear: uint.MaxValue).Build();
        _chip.Pointer = 0xffff_ffff;
        table.Write(_chip, 1, 1, 0x01);
        Assert.Equal(0xffff_feffu, _chip.Pointer);
    }

    [Fact]
    public void ReservedReadsItsFillAndOutsideReadsOnes()
    {
        Assert.Equal(0xffff_eeeeul, s_table.Read(_chip, 14, 4));
        s_table.Write(_chip, 14, 8, ulong.MaxValue);
    }

    [Fact]
    public void HolesAndOverlapsAreErrors()
    {
        Assert.Throws<InvalidOperationException>(static () => new RegisterTable<Chip>("hole", 2).Byte(0, "A", static c => ref c.Control).Build());
        Assert.Throws<InvalidOperationException>(static () => new RegisterTable<Chip>("two", 1).Byte(0, "A", static c => ref c.Control).Byte(0, "B", static c => ref c.Status));
        Assert.Throws<InvalidOperationException>(static () => new RegisterTable<Chip>("out", 2).Word(1, "A", static c => ref c.Counter));
    }

    [Fact]
    public void AccessAllocatesNothing()
    {
        Assert.Equal(0, Allocations.Of(Access));

        void Access()
        {
            for (var i = 0; i < 1000; i++) s_table.Write(_chip, 4, 4, s_table.Read(_chip, 0, 8));
        }
    }

    private sealed class Chip
    {
        public byte Control, Status, Event;
        public uint Pointer;
        public ushort Counter;
        public uint Reads;
        public int Changes;
    }
}
