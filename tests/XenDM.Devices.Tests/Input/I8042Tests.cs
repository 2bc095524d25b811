using System.Collections.Generic;
using XenDM.Core.State;
using XenDM.Devices.Input;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Input;

public sealed class I8042Tests
{
    private const int KeyboardIrq = 1;
    private const int MouseIrq = 12;

    private static (TestBoard Board, I8042 Chip) Make()
    {
        var board = new TestBoard();
        var chip = new I8042(board.IsaLine(KeyboardIrq), board.IsaLine(MouseIrq), board.Clock, board);
        chip.MapPorts(board.Ports);
        chip.Reset(ResetKind.Cold);
        return (board, chip);
    }

    /// <summary>Reads as a driver polls: waits for the output buffer, at most a few byte times.</summary>
    private static byte[] Drain(TestBoard board)
    {
        var bytes = new List<byte>();
        for (var idle = 0; idle < 2;)
        {
            if ((board.In8(0x64) & 1) != 0)
            {
                bytes.Add(board.In8(0x60));
                idle = 0;
            }
            else
            {
                board.Advance(300_000);
                idle++;
            }
        }

        return [.. bytes];
    }

    private static byte[] Send(TestBoard board, params byte[] bytes)
    {
        foreach (var value in bytes)
        {
            board.Out8(0x60, value);
            board.Advance(300_000);
        }

        return Drain(board);
    }

    private static byte[] SendMouse(TestBoard board, params byte[] bytes)
    {
        var all = new List<byte>();
        foreach (var value in bytes)
        {
            board.Out8(0x64, 0xd4);
            board.Out8(0x60, value);
            all.AddRange(Drain(board));
        }

        return [.. all];
    }

    private static void SetMode(TestBoard board, byte mode)
    {
        board.Out8(0x64, 0x60);
        board.Out8(0x60, mode);
    }

    private static void EnableMouse(TestBoard board) => SendMouse(board, 0xf4);

    [Fact]
    public void Contract_Holds() => DeviceContract.Check(
        Make,
        static (board, chip) =>
        {
            SetMode(board, 0x43);
            EnableMouse(board);
            chip.Mouse.MouseEvent(5, -7, 1, MouseButtons.Left);
            chip.Mouse.MouseEvent(5, 700, 1, MouseButtons.Right);
            chip.Keyboard.KeyEvent(0xe048, true);
            board.Out8(0x60, 0xed);
            board.Out8(0x64, 0xd2);
            board.Out8(0x60, 0x77);
            board.In8(0x60);
        },
        "i8042");

    [Fact]
    public void SeaBios_Initialises()
    {
        var (board, _) = Make();
        board.Out8(0x64, 0xad);
        board.Out8(0x64, 0xa7);
        Assert.Empty(Drain(board));
        board.Out8(0x64, 0xaa);
        Assert.Equal([0x55], Drain(board));
        board.Out8(0x64, 0xab);
        Assert.Equal([0x00], Drain(board));
        Assert.Equal([0xfa, 0xaa], Send(board, 0xff));
        Assert.Equal([0xfa], Send(board, 0xf5));
        Assert.Equal([0xfa, 0xfa], Send(board, 0xf0, 0x02));
        SetMode(board, 0x65);
        board.Out8(0x64, 0x20);
        Assert.Equal([0x65], Drain(board));
        Assert.Equal([0xfa], Send(board, 0xf4));
        Assert.Equal(0x14, board.In8(0x64) & 0xd5);
    }

    [Fact]
    public void Linux_FindsControllerAuxPortAndMultiplexing()
    {
        var (board, _) = Make();
        board.Out8(0x64, 0xd3);
        board.Out8(0x60, 0xa5);
        Assert.Equal(0x21, board.In8(0x64) & 0x21);
        Assert.Equal(0xa5, board.In8(0x60));
        board.Out8(0x64, 0xa9);
        Assert.Equal([0x00], Drain(board));
        board.Out8(0x64, 0xa7);
        board.Out8(0x64, 0x20);
        Assert.Equal(0x20, Drain(board)[0] & 0x20);
        board.Out8(0x64, 0xa8);
        board.Out8(0x64, 0x20);
        Assert.Equal(0x00, Drain(board)[0] & 0x20);

        // The aux interrupt test: a looped byte must raise IRQ 12, and only while it is enabled.
        SetMode(board, 0x44);
        board.Out8(0x64, 0xd3);
        board.Out8(0x60, 0xa5);
        Assert.False(board.Hypervisor.IsaLevel(MouseIrq));
        SetMode(board, 0x46);
        Assert.True(board.Hypervisor.IsaLevel(MouseIrq));
        board.In8(0x60);
        Assert.False(board.Hypervisor.IsaLevel(MouseIrq));
    }

    [Fact]
    public void Linux_Atkbd_ProbesTheKeyboard()
    {
        var (board, _) = Make();
        Assert.Equal([0xfa, 0xab, 0x41], Send(board, 0xf2));
        Assert.Equal([0xfa, 0xfa], Send(board, 0xed, 0x07));
        Assert.Equal([0xfa, 0xfa], Send(board, 0xf3, 0x00));
        SetMode(board, 0x05);
        Assert.Equal([0xfa, 0xab, 0x83], Send(board, 0xf2));
        Assert.Equal([0xee], Send(board, 0xee));
        Assert.Equal([0xfe], Send(board, 0x12));
        Assert.Equal([0xfa, 0xfa, 0x02], Send(board, 0xf0, 0x00));
        Assert.Equal([0xfa], Send(board, 0xf4));
        Assert.Equal([0xfa], Send(board, 0xfe));
    }

    [Fact]
    public void Keys_TranslatedToSet1_WithInterrupts()
    {
        var (board, chip) = Make();
        SetMode(board, 0x41);
        chip.Keyboard.KeyEvent(0x1e, true);
        chip.Keyboard.KeyEvent(0x1e, false);
        Assert.True(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(0x1e, board.In8(0x60));
        Assert.Equal(0x1e, board.In8(0x60));
        Assert.False(board.Hypervisor.IsaLevel(KeyboardIrq));
        board.Advance(200_000);
        Assert.True(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(2, board.Hypervisor.IsaEdges[KeyboardIrq]);
        Assert.Equal([0x9e], Drain(board));
        chip.Keyboard.KeyEvent(0xe048, true);
        chip.Keyboard.KeyEvent(0xe048, false);
        Assert.Equal([0xe0, 0x48, 0xe0, 0xc8], Drain(board));
        chip.Keyboard.KeyEvent(ScanCodes.Pause, true);
        chip.Keyboard.KeyEvent(ScanCodes.Pause, false);
        Assert.Equal([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], Drain(board));
    }

    [Fact]
    public void EveryKey_SurvivesTheTranslation()
    {
        var (board, chip) = Make();
        for (ushort key = 1; key < 0x59; key++)
        {
            chip.Keyboard.KeyEvent(key, true);
            chip.Keyboard.KeyEvent(key, false);
            Assert.Equal([(byte)key, (byte)(key | 0x80)], Drain(board));
        }
    }

    [Fact]
    public void Sets_1_2_And_3()
    {
        var (board, chip) = Make();
        SetMode(board, 0x01);
        chip.Keyboard.KeyEvent(0x1e, true);
        chip.Keyboard.KeyEvent(0xe01d, false);
        Assert.Equal([0x1c, 0xe0, 0xf0, 0x14], Drain(board));
        chip.Keyboard.KeyEvent(0x41, true);
        Assert.Equal([0x83], Drain(board));
        Send(board, 0xf0, 0x01);
        chip.Keyboard.KeyEvent(0xe01d, false);
        Assert.Equal([0xe0, 0x9d], Drain(board));
        Send(board, 0xf0, 0x03);
        chip.Keyboard.KeyEvent(0xe01d, true);
        chip.Keyboard.KeyEvent(0xe01d, false);
        chip.Keyboard.KeyEvent(0x2a, false);
        Assert.Equal([0x58, 0xf0, 0x12], Drain(board));
        Assert.Equal([0xfa], Send(board, 0xfa));
        chip.Keyboard.KeyEvent(0xe01d, false);
        Assert.Equal([0xf0, 0x58], Drain(board));
        Assert.Equal([0xfa, 0xfa, 0xfa], Send(board, 0xfd, 0x58, 0x59));
        chip.Keyboard.KeyEvent(0xe01d, false);
        Assert.Empty(Drain(board));
        Assert.Equal([0xfa], Send(board, 0xf6));
        Assert.Equal([0xfa, 0xfa, 0x02], Send(board, 0xf0, 0x00));
    }

    [Fact]
    public void AltPrintScreen_IsSysRq()
    {
        var (board, chip) = Make();
        chip.Keyboard.KeyEvent(0x38, true);
        chip.Keyboard.KeyEvent(ScanCodes.PrintScreen, true);
        Assert.Equal([0x38, 0x54], Drain(board));
    }

    [Fact]
    public void FullQueue_EndsWithOneOverrunMark()
    {
        var (board, chip) = Make();
        SetMode(board, 0x00);
        for (var i = 0; i < 1000; i++) chip.Keyboard.KeyEvent(0x1e, true);
        var bytes = Drain(board);
        Assert.InRange(bytes.Length, 100, 130);
        Assert.Equal(0x00, bytes[^1]);
        Assert.Equal(0x1c, bytes[^2]);
    }

    [Fact]
    public void DisabledKeyboard_KeepsItsBytes()
    {
        var (board, chip) = Make();
        board.Out8(0x64, 0xad);
        chip.Keyboard.KeyEvent(0x1e, true);
        Assert.Empty(Drain(board));
        board.Out8(0x64, 0xae);
        Assert.Equal([0x1e], Drain(board));
        Send(board, 0xf5);
        chip.Keyboard.KeyEvent(0x1e, true);
        Assert.Empty(Drain(board));
    }

    [Fact]
    public void Leds_AreTold()
    {
        var (board, chip) = Make();
        var leds = -1;
        chip.Keyboard.LedsChanged = value => leds = value;
        Send(board, 0xed, 0x04);
        Assert.Equal(4, leds);
        Send(board, 0xff);
        Assert.Equal(0, leds);
    }

    [Fact]
    public void Mouse_StandardPacket()
    {
        var (board, chip) = Make();
        SetMode(board, 0x43);
        Assert.Equal([0xfa, 0xaa, 0x00], SendMouse(board, 0xff));
        Assert.Equal([0xfa, 0x00], SendMouse(board, 0xf2));
        chip.Mouse.MouseEvent(1, 1, 0, MouseButtons.None);
        Assert.Empty(Drain(board));
        EnableMouse(board);
        chip.Mouse.MouseEvent(10, -3, 0, MouseButtons.Left);
        Assert.True(board.Hypervisor.IsaLevel(MouseIrq));
        Assert.False(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(0x21, board.In8(0x64) & 0x21);
        Assert.Equal([0x09, 10, 3], Drain(board));
        chip.Mouse.MouseEvent(-600, 2, 0, MouseButtons.None);
        Assert.Equal([0x38, 0x01, 0xfe, 0x18, 0x01, 0x00, 0x18, 0xa6, 0x00], Drain(board));
    }

    [Fact]
    public void Mouse_ButtonsBetweenPackets_AreNotLost()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        chip.Mouse.MouseEvent(0, 0, 0, MouseButtons.Left);
        chip.Mouse.MouseEvent(0, 0, 0, MouseButtons.None);
        chip.Mouse.MouseEvent(0, 0, 0, MouseButtons.Left);
        chip.Mouse.MouseEvent(0, 0, 0, MouseButtons.None);
        Assert.Equal([9, 0, 0, 8, 0, 0, 9, 0, 0, 8, 0, 0], Drain(board));
    }

    [Fact]
    public void Mouse_Knocks_ForWheelAndSideButtons()
    {
        var (board, chip) = Make();
        SendMouse(board, 0xf3, 200, 0xf3, 100, 0xf3, 80);
        Assert.Equal([0xfa, 0x03], SendMouse(board, 0xf2));
        EnableMouse(board);
        chip.Mouse.MouseEvent(0, 0, -1, MouseButtons.Middle);
        Assert.Equal([0x0c, 0, 0, 0xff], Drain(board));
        SendMouse(board, 0xf3, 200, 0xf3, 200, 0xf3, 80);
        Assert.Equal([0xfa, 0x04], SendMouse(board, 0xf2));
        chip.Mouse.MouseEvent(0, 0, 1, MouseButtons.Side);
        Assert.Equal([0x08, 0, 0, 0x11], Drain(board));
        Assert.Equal([0xfa, 0x20, 0x02, 80], SendMouse(board, 0xe9));
    }

    [Fact]
    public void Mouse_RemoteWrapAndBadArguments()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        SendMouse(board, 0xf0);
        chip.Mouse.MouseEvent(4, 0, 0, MouseButtons.Right);
        Assert.Empty(Drain(board));
        Assert.Equal([0xfa, 0x0a, 4, 0], SendMouse(board, 0xeb));
        SendMouse(board, 0xea, 0xee);
        Assert.Equal([0x42, 0xf4], SendMouse(board, 0x42, 0xf4));
        Assert.Equal([0xfa], SendMouse(board, 0xec));
        Assert.Equal([0xfa, 0xfe], SendMouse(board, 0xe8, 9));
        Assert.Equal([0xfa, 0xfe], SendMouse(board, 0xf3, 77));
        Assert.Equal([0xfe], SendMouse(board, 0x00));
    }

    [Theory]
    [InlineData(new[] { 0x64, 0xfe }, 1)]
    [InlineData(new[] { 0x64, 0xf0 }, 1)]
    [InlineData(new[] { 0x64, 0xff }, 0)]
    [InlineData(new[] { 0x64, 0xd1, 0x60, 0xfe }, 1)]
    [InlineData(new[] { 0x64, 0xd1, 0x60, 0xdf }, 0)]
    public void ResetLine(int[] writes, int resets)
    {
        var (board, _) = Make();
        for (var i = 0; i < writes.Length; i += 2) board.Out8((ushort)writes[i], writes[i + 1]);
        Assert.Equal(resets, board.Requests.Count);
    }

    [Fact]
    public void A20_ReadsBack()
    {
        var (board, _) = Make();
        board.Out8(0x64, 0xdd);
        board.Out8(0x64, 0xd0);
        Assert.Equal(0, Drain(board)[0] & 2);
        board.Out8(0x64, 0xd1);
        board.Out8(0x60, 0xdf);
        board.Out8(0x64, 0xd0);
        Assert.Equal(2, Drain(board)[0] & 2);
    }

    [Fact]
    public void KeyboardGoesBeforeMouse_AndRepliesBeforeBoth()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        SetMode(board, 0x70);
        chip.Mouse.MouseEvent(1, 0, 0, MouseButtons.None);
        chip.Keyboard.KeyEvent(0x1e, true);
        board.Out8(0x64, 0xc0);
        SetMode(board, 0x40);
        Assert.Equal([0xa0, 0x1e, 0x08, 1, 0], Drain(board));
    }

    [Theory]
    [InlineData(31)]
    [InlineData(32)]
    public void RandomAccesses_AreHarmless(int seed)
    {
        var (board, chip) = Make();
        ChipFuzz.Run(board, [chip], 50_000, seed, random =>
        {
            chip.Keyboard.KeyEvent((ushort)random.Next(0x10000), random.Next(2) == 0);
            chip.Mouse.MouseEvent(random.Next(), random.Next() - (1 << 30), random.Next(9) - 4, (MouseButtons)random.Next(32));
        });
    }
}
