using XenDM.Core.Backends;
using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Devices.Serial;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Serial;

public sealed class Uart16550Tests
{
    private const ushort Com1 = 0x3f8;
    private const int Irq = 4;

    private static (TestBoard Board, Uart16550 Chip, FakeChar Cable) Make()
    {
        var board = new TestBoard();
        var cable = new FakeChar();
        var chip = new Uart16550("serial0", board.IsaLine(Irq), board.Clock, cable);
        chip.MapPorts(board.Ports, Com1);
        chip.Reset(ResetKind.Cold);
        return (board, chip, cable);
    }

    private static void Open(TestBoard board, byte fcr = 0xc7)
    {
        board.Out8(Com1 + 3, 0x83);
        board.Out8(Com1, 1);
        board.Out8(Com1 + 1, 0);
        board.Out8(Com1 + 3, 0x03);
        board.Out8(Com1 + 2, fcr);
        board.Out8(Com1 + 4, 0x0b);
    }

    [Fact]
    public void Contract_Holds() => DeviceContract.Check(
        static () =>
        {
            var (board, chip, _) = Make();
            return (board, chip);
        },
        static (board, chip) =>
        {
            Open(board, 0x81);
            board.Out8(Com1 + 1, 0x0f);
            board.Out8(Com1 + 7, 0x5a);
            board.Out8(Com1, 'x');
            chip.Receive("abc"u8);
        },
        "uart16550");

    [Fact]
    public void Linux_Autoconfig_Finds16550A()
    {
        var (board, _, _) = Make();
        board.Out8(Com1 + 1, 0);
        Assert.Equal(0, board.In8(Com1 + 1) & 0x0f);
        board.Out8(Com1 + 1, 0x0f);
        Assert.Equal(0x0f, board.In8(Com1 + 1) & 0x0f);
        board.Out8(Com1 + 1, 0);
        board.Out8(Com1 + 4, 0x1a);
        Assert.Equal(0x90, board.In8(Com1 + 6) & 0xf0);
        board.Out8(Com1 + 4, 0);
        board.Out8(Com1 + 3, 0xbf);
        board.Out8(Com1 + 2, 0);
        board.Out8(Com1 + 3, 0);
        board.Out8(Com1 + 2, 1);
        Assert.Equal(3, board.In8(Com1 + 2) >> 6);

        // Neither a 16650 (EFR reads zero) nor a 16750 (64-byte FIFO).
        board.Out8(Com1 + 3, 0x80);
        Assert.NotEqual(0, board.In8(Com1 + 2));
        board.Out8(Com1 + 2, 0x21);
        Assert.Equal(6, board.In8(Com1 + 2) >> 5);
    }

    [Fact]
    public void Presence_TestOfHvmloader_ReadsBackIer()
    {
        var (board, _, _) = Make();
        board.Out8(Com1 + 1, 0x05);
        Assert.Equal(0x05, board.In8(Com1 + 1));
    }

    [Fact]
    public void Transmit_GoesOutAtOnce_AndInterruptsOnce()
    {
        var (board, _, cable) = Make();
        Open(board);
        board.Out8(Com1 + 1, 0x02);
        Assert.True(board.Hypervisor.IsaLevel(Irq));
        Assert.Equal(0xc2, board.In8(Com1 + 2));
        Assert.False(board.Hypervisor.IsaLevel(Irq));
        foreach (var c in "hello") board.Out8(Com1, c);
        Assert.Equal("hello", cable.Text);
        Assert.True(board.Hypervisor.IsaLevel(Irq));
        Assert.Equal(0x60, board.In8(Com1 + 5) & 0x60);
        Assert.Equal(0xc2, board.In8(Com1 + 2));
        Assert.Equal(0xc1, board.In8(Com1 + 2));
    }

    [Fact]
    public void ShortWrite_KeepsBytesUntilReady()
    {
        var (board, chip, cable) = Make();
        Open(board);
        cable.Room = 2;
        foreach (var c in "abcdef") board.Out8(Com1, c);
        Assert.Equal("ab", cable.Text);
        Assert.Equal(0, board.In8(Com1 + 5) & 0x60);
        cable.Room = int.MaxValue;
        chip.WriteReady();
        Assert.Equal("abcdef", cable.Text);
        Assert.Equal(0x60, board.In8(Com1 + 5) & 0x60);
    }

    [Fact]
    public void Receive_TriggerLevel_ThenTimeout()
    {
        var (board, _, cable) = Make();
        Open(board, 0x81);
        board.Out8(Com1 + 1, 0x01);
        cable.Send("1234567");
        Assert.False(board.Hypervisor.IsaLevel(Irq));
        cable.Send("8");
        Assert.Equal(0xc4, board.In8(Com1 + 2));
        Assert.Equal((byte)'1', board.In8(Com1));
        Assert.False(board.Hypervisor.IsaLevel(Irq));
        board.Advance(400_000);
        Assert.True(board.Hypervisor.IsaLevel(Irq));
        Assert.Equal(0xcc, board.In8(Com1 + 2));
        Assert.Equal((byte)'2', board.In8(Com1));
        Assert.Equal(0xc1, board.In8(Com1 + 2));
    }

    [Fact]
    public void Input_WaitsForRoom_AndNothingIsLost()
    {
        var (board, _, cable) = Make();
        Open(board);
        var text = new string('q', 20) + "the quick brown fox jumps over the lazy dog";
        cable.Send(text);
        var got = "";
        while ((board.In8(Com1 + 5) & 1) != 0) got += (char)board.In8(Com1);
        Assert.Equal(text, got);
        Assert.Equal(0, board.In8(Com1 + 5) & 0x02);
    }

    [Fact]
    public void Loopback_ReturnsBytes_AndOverruns()
    {
        var (board, _, cable) = Make();
        Open(board);
        board.Out8(Com1 + 4, 0x1f);
        Assert.Equal(0xf0, board.In8(Com1 + 6) & 0xf0);
        for (var i = 0; i < 17; i++) board.Out8(Com1, i);
        Assert.Equal(0x63, board.In8(Com1 + 5));
        Assert.Equal(0x61, board.In8(Com1 + 5));
        for (var i = 0; i < 16; i++) Assert.Equal(i, board.In8(Com1));
        Assert.Empty(cable.Written);
        cable.Send("x");
        Assert.Equal(0, board.In8(Com1 + 5) & 1);
        board.Out8(Com1 + 4, 0x0b);
        Assert.Equal((byte)'x', board.In8(Com1));
    }

    [Fact]
    public void Loopback_RingReportsOnlyItsEnd()
    {
        var (board, _, _) = Make();
        board.Out8(Com1 + 4, 0x10);
        board.In8(Com1 + 6);
        board.Out8(Com1 + 4, 0x14);
        Assert.Equal(0x40, board.In8(Com1 + 6));
        board.Out8(Com1 + 4, 0x10);
        Assert.Equal(0x04, board.In8(Com1 + 6));
    }

    [Fact]
    public void Break_BothWays()
    {
        var (board, chip, cable) = Make();
        Open(board);
        board.Out8(Com1 + 1, 0x04);
        chip.Event(CharEvent.Break);
        Assert.Equal(0xc6, board.In8(Com1 + 2));
        Assert.Equal(0x98, board.In8(Com1 + 5) & 0x98);
        Assert.Equal(0, board.In8(Com1 + 5) & 0x98);
        Assert.Equal(0, board.In8(Com1));
        board.Out8(Com1 + 3, 0x43);
        Assert.True(cable.Break);
        board.Out8(Com1 + 3, 0x03);
        Assert.False(cable.Break);
    }

    [Fact]
    public void Out2_GatesTheInterrupt()
    {
        var (board, _, _) = Make();
        Open(board);
        board.Out8(Com1 + 4, 0x03);
        board.Out8(Com1 + 1, 0x02);
        Assert.False(board.Hypervisor.IsaLevel(Irq));
        board.Out8(Com1 + 4, 0x0b);
        Assert.True(board.Hypervisor.IsaLevel(Irq));
    }

    [Fact]
    public void Restore_GivesWaitingBytesToTheNewBackend()
    {
        var (board, chip, cable) = Make();
        Open(board);
        cable.Room = 0;
        foreach (var c in "late") board.Out8(Com1, c);
        using var stream = new System.IO.MemoryStream();
        StateWriter.Save([chip], stream);
        var (other, restored, otherCable) = Make();
        StateReader.Load([restored], stream.ToArray());
        other.Advance(1);
        Assert.Equal("late", otherCable.Text);
        Assert.Equal(0x60, other.In8(Com1 + 5) & 0x60);
    }

    [Fact]
    public void Restore_OfASharedInterrupt_CanFallAgain()
    {
        var board = new TestBoard();
        var junction = new IrqJunction(board.IsaLine(Irq));
        var first = new Uart16550("serial0", junction.Input(0), board.Clock, null);
        var second = new Uart16550("serial2", junction.Input(1), board.Clock, null);
        first.MapPorts(board.Ports, Com1);
        second.MapPorts(board.Ports, 0x3e8);
        first.Reset(ResetKind.Cold);
        second.Reset(ResetKind.Cold);
        Open(board);
        board.Out8(Com1 + 1, 0x02);
        using var stream = new System.IO.MemoryStream();
        StateWriter.Save([first, second], stream);
        board.Out8(Com1 + 1, 0x00);

        // The interrupt controllers hold the saved level already.
        board.Hypervisor.SetIsaIrq(Irq, true);
        StateReader.Load([first, second], stream.ToArray());
        board.Out8(Com1 + 1, 0x00);
        Assert.False(board.Hypervisor.IsaLevel(Irq));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void RandomAccesses_AreHarmless(int seed)
    {
        var (board, chip, cable) = Make();
        ChipFuzz.Run(board, [chip], 20_000, seed, random =>
        {
            cable.Room = random.Next(20);
            cable.Written.Clear();
            chip.WriteReady();
            if (random.Next(4) == 0) cable.Send("abc");
            if (random.Next(8) == 0) chip.Event(CharEvent.Break);
        });
    }
}
