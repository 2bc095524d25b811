using System.Collections.Generic;
using System.IO;
using XenDM.Core.Input;
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

    /// <summary>Reads as a driver polls: waits for the output buffer, a little longer than the mouse has from report to report.</summary>
    private static byte[] Drain(TestBoard board)
    {
        var bytes = new List<byte>();
        for (var idle = 0; idle < 40;)
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
            chip.Mouse.Move(5, -7, 1, 0, PointerButtons.Left);
            chip.Mouse.Move(5, 700, 1, 0, PointerButtons.Right);
            chip.Keyboard.Key(0xe048, true);
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
        chip.Keyboard.Key(0x1e, true);
        chip.Keyboard.Key(0x1e, false);
        Assert.True(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(0x1e, board.In8(0x60));
        Assert.Equal(0x1e, board.In8(0x60));
        Assert.False(board.Hypervisor.IsaLevel(KeyboardIrq));
        board.Advance(200_000);
        Assert.True(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(2, board.Hypervisor.IsaEdges[KeyboardIrq]);
        Assert.Equal([0x9e], Drain(board));
        chip.Keyboard.Key(0xe048, true);
        chip.Keyboard.Key(0xe048, false);
        Assert.Equal([0xe0, 0x48, 0xe0, 0xc8], Drain(board));
        chip.Keyboard.Key(ScanCodes.Pause, true);
        chip.Keyboard.Key(ScanCodes.Pause, false);
        Assert.Equal([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], Drain(board));
    }

    [Fact]
    public void EveryKey_SurvivesTheTranslation()
    {
        var (board, chip) = Make();
        for (ushort key = 1; key < 0x59; key++)
        {
            chip.Keyboard.Key(key, true);
            chip.Keyboard.Key(key, false);
            Assert.Equal([(byte)key, (byte)(key | 0x80)], Drain(board));
        }
    }

    [Fact]
    public void Sets_1_2_And_3()
    {
        var (board, chip) = Make();
        SetMode(board, 0x01);
        chip.Keyboard.Key(0x1e, true);
        chip.Keyboard.Key(0xe01d, false);
        Assert.Equal([0x1c, 0xe0, 0xf0, 0x14], Drain(board));
        chip.Keyboard.Key(0x41, true);
        Assert.Equal([0x83], Drain(board));
        Send(board, 0xf0, 0x01);
        chip.Keyboard.Key(0xe01d, false);
        Assert.Equal([0xe0, 0x9d], Drain(board));
        Send(board, 0xf0, 0x03);
        chip.Keyboard.Key(0xe01d, true);
        chip.Keyboard.Key(0xe01d, false);
        chip.Keyboard.Key(0x2a, false);
        Assert.Equal([0x58, 0xf0, 0x12], Drain(board));
        Assert.Equal([0xfa], Send(board, 0xfa));
        chip.Keyboard.Key(0xe01d, false);
        Assert.Equal([0xf0, 0x58], Drain(board));
        Assert.Equal([0xfa, 0xfa, 0xfa], Send(board, 0xfd, 0x58, 0x59));
        chip.Keyboard.Key(0xe01d, false);
        Assert.Empty(Drain(board));
        Assert.Equal([0xfa], Send(board, 0xf6));
        Assert.Equal([0xfa, 0xfa, 0x02], Send(board, 0xf0, 0x00));
    }

    [Theory]
    [InlineData(0, new byte[] { 0xe0, 0x2a, 0xe0, 0x37 }, new byte[] { 0xe0, 0xb7, 0xe0, 0xaa })]
    [InlineData(0x36, new byte[] { 0xe0, 0x37 }, new byte[] { 0xe0, 0xb7 })]
    [InlineData(0xe01d, new byte[] { 0xe0, 0x37 }, new byte[] { 0xe0, 0xb7 })]
    [InlineData(0x38, new byte[] { 0x54 }, new byte[] { 0xd4 })]
    [InlineData(0xe038, new byte[] { 0x54 }, new byte[] { 0xd4 })]
    public void PrintScreen_DependsOnWhatIsHeld(int with, byte[] make, byte[] @break)
    {
        var (board, chip) = Make();
        if (with != 0) chip.Keyboard.Key((ushort)with, true);
        Drain(board);
        chip.Keyboard.Key(ScanCodes.PrintScreen, true);
        Assert.Equal(make, Drain(board));

        // What was pressed is released, whatever was let go before.
        if (with != 0) chip.Keyboard.Key((ushort)with, false);
        Drain(board);
        chip.Keyboard.Key(ScanCodes.PrintScreen, false);
        Assert.Equal(@break, Drain(board));
    }

    [Fact]
    public void ControlPause_IsBreak()
    {
        var (board, chip) = Make();
        chip.Keyboard.Key(0x1d, true);
        chip.Keyboard.Key(ScanCodes.Pause, true);
        chip.Keyboard.Key(ScanCodes.Pause, false);
        Assert.Equal([0x1d, 0xe0, 0x46, 0xe0, 0xc6], Drain(board));
    }

    /// <summary>The codes that come while a key is held for some milliseconds, as a driver that reads at once gets them.</summary>
    private static byte[] Hold(TestBoard board, int milliseconds)
    {
        var bytes = new List<byte>();
        for (var i = 0; i < milliseconds; i++)
        {
            while ((board.In8(0x64) & 1) != 0)
            {
                bytes.Add(board.In8(0x60));
                board.Advance(200_000);
            }

            board.Advance(1_000_000);
        }

        return [.. bytes];
    }

    [Theory]
    [InlineData(0x2b, 480, 1000, 6)]
    [InlineData(0x00, 240, 1250, 31)]
    [InlineData(0x7f, 990, 2000, 3)]
    [InlineData(0x20, 490, 1500, 31)]
    public void HeldKey_RepeatsAsTheGuestSetIt(byte rate, int quiet, int milliseconds, int codes)
    {
        var (board, chip) = Make();
        Assert.Equal([0xfa, 0xfa], Send(board, 0xf3, rate));
        chip.Keyboard.Key(0x1e, true);
        Assert.Equal([0x1e], Hold(board, quiet));

        // A viewer that repeats by itself changes nothing.
        chip.Keyboard.Key(0x1e, true);
        var bytes = Hold(board, milliseconds - quiet);
        Assert.All(bytes, static b => Assert.Equal(0x1e, b));
        Assert.InRange(bytes.Length, codes - 1, codes + 1);
        chip.Keyboard.Key(0x1e, false);
        Assert.Equal([0x9e], Hold(board, 1500));
    }

    [Fact]
    public void LastOfSeveralKeys_Repeats_AndItsReleaseEndsThat()
    {
        var (board, chip) = Make();
        chip.Keyboard.Key(0x1e, true);
        Hold(board, 600);
        chip.Keyboard.Key(0x2a, true);
        chip.Keyboard.Key(0xe04b, true);
        var bytes = Hold(board, 1000);
        Assert.Equal([0x2a, 0xe0, 0x4b, 0xe0, 0x4b], bytes[..5]);
        Assert.DoesNotContain((byte)0x1e, bytes);
        chip.Keyboard.Key(0xe04b, false);
        Assert.Equal([0xe0, 0xcb], Hold(board, 2000));
    }

    [Fact]
    public void UnreadRepeats_AreNotKept_AndEndWithScanning()
    {
        var (board, chip) = Make();
        chip.Keyboard.Key(0x1e, true);
        board.Advance(10_000_000_000);
        Assert.InRange(Hold(board, 10).Length, 1, 2);
        Send(board, 0xf5);
        Assert.Empty(Hold(board, 2000));
        Send(board, 0xf4);
        Assert.Empty(Hold(board, 2000));
        chip.Keyboard.Key(ScanCodes.Pause, true);
        Assert.Equal(6, Hold(board, 2000).Length);
    }

    [Fact]
    public void SetThree_KeysRepeatAndBreakByType()
    {
        var (board, chip) = Make();
        SetMode(board, 0x01);
        Send(board, 0xf0, 0x03, 0xf3, 0x00);

        // At first: letters repeat without a break code, shifts have one, F1 only makes.
        chip.Keyboard.Key(0x1e, true);
        Assert.InRange(Hold(board, 1250).Length, 28, 33);
        chip.Keyboard.Key(0x1e, false);
        chip.Keyboard.Key(0x2a, true);
        chip.Keyboard.Key(0x2a, false);
        chip.Keyboard.Key(0x3b, true);
        Assert.Equal([0x12, 0xf0, 0x12, 0x07], Hold(board, 1000));
        chip.Keyboard.Key(0x3b, false);
        Assert.Empty(Drain(board));
        foreach (var (command, repeats, breaks) in new[] { (0xf7, true, false), (0xf8, false, true), (0xf9, false, false), (0xfa, true, true) })
        {
            Assert.Equal([0xfa], Send(board, (byte)command));
            chip.Keyboard.Key(0x3b, true);
            Assert.Equal(repeats, Hold(board, 1000).Length > 1);
            chip.Keyboard.Key(0x3b, false);
            Assert.Equal(breaks ? [0xf0, 0x07] : [], Drain(board));
        }

        // One key by its code; the next command ends the list.
        foreach (var (command, repeats, breaks) in new[] { (0xfb, true, false), (0xfc, false, true), (0xfd, false, false) })
        {
            Assert.Equal([0xfa, 0xfa, 0xfa], Send(board, (byte)command, 0x1c, 0xf4));
            chip.Keyboard.Key(0x1e, true);
            Assert.Equal(repeats, Hold(board, 1000).Length > 1);
            chip.Keyboard.Key(0x1e, false);
            Assert.Equal(breaks ? [0xf0, 0x1c] : [], Drain(board));
        }
    }

    [Fact]
    public void Defaults_LeaveScanningAsItIs()
    {
        var (board, chip) = Make();
        Send(board, 0xf5, 0xf6);
        chip.Keyboard.Key(0x1e, true);
        chip.Keyboard.Key(0x1e, false);
        Assert.Empty(Drain(board));
        Send(board, 0xf4, 0xf6);
        chip.Keyboard.Key(0x1e, true);
        Assert.Equal([0x1e], Drain(board));
    }

    [Fact]
    public void Resend_SaysTheLastByteAgain_AlsoAfterAResendOfItsOwn()
    {
        var (board, _) = Make();
        Assert.Equal([0xee], Send(board, 0xee));
        Assert.Equal([0xfe], Send(board, 0x00));
        Assert.Equal([0xee, 0xee], Send(board, 0xfe, 0xfe));
        Assert.Equal([0xfa, 0xaa], Send(board, 0xff));
        Assert.Equal([0xaa], Send(board, 0xfe));
    }

    [Fact]
    public void RepeatAndMouseReport_GoOnAfterARestore()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        chip.Keyboard.Key(0x1e, true);
        Assert.Equal([0x1e], Hold(board, 300));
        chip.Mouse.Move(1, 2, 0, 0, PointerButtons.Left);
        Assert.Equal([0x29, 1, 0xfe], Hold(board, 2));
        chip.Mouse.Move(3, 0, 0, 0, PointerButtons.Left);
        using var state = new MemoryStream();
        StateWriter.Save([chip], state);
        var (other, copy) = Make();
        other.Advance(board.Clock.Now);
        StateReader.Load([copy], state.ToArray());
        Assert.Equal([0x09, 3, 0], Hold(other, 20));
        Assert.InRange(Hold(other, 1000).Length, 5, 20);
        copy.Keyboard.Key(0x1e, false);
        Assert.Equal([0x9e], Drain(other));
    }

    [Fact]
    public void FullQueue_EndsWithOneOverrunMark()
    {
        var (board, chip) = Make();
        SetMode(board, 0x00);
        for (var i = 0; i < 1000; i++)
        {
            chip.Keyboard.Key(0x1e, true);
            chip.Keyboard.Key(0x1e, false);
        }

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
        chip.Keyboard.Key(0x1e, true);
        Assert.Empty(Drain(board));
        board.Out8(0x64, 0xae);
        Assert.Equal([0x1e], Drain(board));
        Send(board, 0xf5);
        chip.Keyboard.Key(0x1e, true);
        Assert.Empty(Drain(board));
    }

    [Fact]
    public void Leds_AreTold()
    {
        var (board, chip) = Make();
        var told = new List<KeyboardLeds>();
        chip.Keyboard.LedsChanged = () => told.Add(chip.Keyboard.Leds);
        Assert.Equal([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa], Send(board, 0xed, 0x04, 0xed, 0x04, 0xed, 0x03));
        Send(board, 0xff);
        Assert.Equal([KeyboardLeds.CapsLock, KeyboardLeds.NumLock | KeyboardLeds.ScrollLock, KeyboardLeds.None], told);
    }

    [Fact]
    public void Mouse_StandardPacket()
    {
        var (board, chip) = Make();
        SetMode(board, 0x43);
        Assert.Equal([0xfa, 0xaa, 0x00], SendMouse(board, 0xff));
        Assert.Equal([0xfa, 0x00], SendMouse(board, 0xf2));
        chip.Mouse.Move(1, 1, 0, 0, PointerButtons.None);
        Assert.Empty(Drain(board));
        EnableMouse(board);
        chip.Mouse.Move(10, -3, 0, 0, PointerButtons.Left);
        Assert.True(board.Hypervisor.IsaLevel(MouseIrq));
        Assert.False(board.Hypervisor.IsaLevel(KeyboardIrq));
        Assert.Equal(0x21, board.In8(0x64) & 0x21);
        Assert.Equal([0x09, 10, 3], Drain(board));
        chip.Mouse.Move(-600, 2, 0, 0, PointerButtons.None);
        Assert.Equal([0x38, 0x01, 0xfe, 0x18, 0x01, 0x00, 0x18, 0xa6, 0x00], Drain(board));
    }

    [Fact]
    public void Mouse_ButtonsBetweenPackets_AreNotLost()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        chip.Mouse.Move(0, 0, 0, 0, PointerButtons.Left);
        chip.Mouse.Move(0, 0, 0, 0, PointerButtons.None);
        chip.Mouse.Move(0, 0, 0, 0, PointerButtons.Left);
        chip.Mouse.Move(0, 0, 0, 0, PointerButtons.None);
        Assert.Equal([9, 0, 0, 8, 0, 0, 9, 0, 0, 8, 0, 0], Drain(board));
    }

    [Fact]
    public void Mouse_Knocks_ForWheelAndSideButtons()
    {
        var (board, chip) = Make();
        SendMouse(board, 0xf3, 200, 0xf3, 100, 0xf3, 80);
        Assert.Equal([0xfa, 0x03], SendMouse(board, 0xf2));
        EnableMouse(board);
        chip.Mouse.Move(0, 0, -1, 0, PointerButtons.Middle);
        Assert.Equal([0x0c, 0, 0, 0xff], Drain(board));
        SendMouse(board, 0xf3, 200, 0xf3, 200, 0xf3, 80);
        Assert.Equal([0xfa, 0x04], SendMouse(board, 0xf2));
        chip.Mouse.Move(0, 0, 1, 0, PointerButtons.Side);
        Assert.Equal([0x08, 0, 0, 0x11], Drain(board));
        Assert.Equal([0xfa, 0x20, 0x02, 80], SendMouse(board, 0xe9));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(40)]
    [InlineData(200)]
    public void Mouse_ReportsAtItsSampleRate_AndAddsUpBetween(byte rate)
    {
        var (board, chip) = Make();
        SendMouse(board, 0xf3, rate);
        EnableMouse(board);
        int reports = 0, distance = 0;
        var begin = board.Clock.Now;
        for (var ms = 0; ms < 1000; ms++)
        {
            chip.Mouse.Move(1, 0, 0, 0, PointerButtons.None);
            var bytes = Hold(board, 1);
            Assert.True(bytes.Length is 0 or 3);
            if (bytes.Length == 0) continue;
            reports++;
            distance += bytes[1];
        }

        Assert.InRange(reports, rate / 2, (rate * (board.Clock.Now - begin) / 1_000_000_000) + 1);
        Assert.InRange(distance, 1000 - (1000 / rate) - 2, 1000);
    }

    [Fact]
    public void Mouse_FastAndUnread_LosesNeitherWayNorButtons()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        for (var i = 0; i < 5000; i++) chip.Mouse.Move(1, -1, 0, 0, i < 2500 ? PointerButtons.Left : PointerButtons.Right);
        int x = 0, y = 0;
        var buttons = new List<int>();
        var bytes = Drain(board);
        for (var i = 0; i < bytes.Length; i += 3)
        {
            Assert.Equal(0x08, bytes[i] & 0xc8);
            x += bytes[i + 1] - ((bytes[i] & 0x10) << 4);
            y += bytes[i + 2] - ((bytes[i] & 0x20) << 3);
            if (buttons.Count == 0 || buttons[^1] != (bytes[i] & 7)) buttons.Add(bytes[i] & 7);
        }

        Assert.Equal((5000, 5000), (x, y));
        Assert.Equal([1, 2], buttons);
    }

    [Fact]
    public void Mouse_Scaling_IsForTheStreamOnly()
    {
        var (board, chip) = Make();
        SendMouse(board, 0xe7, 0xf3, 200);
        EnableMouse(board);
        foreach (var (counts, scaled) in new[] { (1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (6, 12), (127, 254), (-3, -3), (-100, -200) })
        {
            chip.Mouse.Move(counts, -counts, 0, 0, PointerButtons.None);
            Assert.Equal([(byte)(scaled < 0 ? 0x38 : 0x08), (byte)scaled, (byte)scaled], Drain(board));
        }

        Assert.Equal([0xfa, 0x30, 0x02, 200], SendMouse(board, 0xe9));
        SendMouse(board, 0xf0);
        chip.Mouse.Move(5, 0, 0, 0, PointerButtons.None);
        Assert.Equal([0xfa, 0x08, 5, 0], SendMouse(board, 0xeb));
    }

    [Fact]
    public void Mouse_TiltingWheel_OnTheExplorerOnly()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        chip.Mouse.Move(0, 0, 0, 1, PointerButtons.None);
        Assert.Equal([8, 0, 0], Drain(board));
        SendMouse(board, 0xf3, 200, 0xf3, 100, 0xf3, 80);
        SendMouse(board, 0xf3, 200, 0xf3, 200, 0xf3, 80);
        chip.Mouse.Move(0, 0, 2, 1, PointerButtons.Extra);
        Assert.Equal([8, 0, 0, 0x22, 8, 0, 0, 0x7f], Drain(board));
        chip.Mouse.Move(0, 0, 0, -40, PointerButtons.None);
        Assert.Equal([8, 0, 0, 0x5f, 8, 0, 0, 0x49], Drain(board));
        chip.Mouse.Move(0, 0, 20, 0, PointerButtons.None);
        Assert.Equal([8, 0, 0, 7, 8, 0, 0, 7, 8, 0, 0, 6], Drain(board));
    }

    [Fact]
    public void Mouse_IsActive_WhileTheGuestListens()
    {
        var (board, chip) = Make();
        Assert.False(chip.Mouse.IsActive);
        EnableMouse(board);
        Assert.True(chip.Mouse.IsActive);
        SendMouse(board, 0xf5);
        Assert.False(chip.Mouse.IsActive);
        SendMouse(board, 0xf0);
        Assert.True(chip.Mouse.IsActive);
        Assert.False(chip.Mouse.IsAbsolute);
    }

    [Fact]
    public void Mouse_RemoteWrapAndBadArguments()
    {
        var (board, chip) = Make();
        EnableMouse(board);
        SendMouse(board, 0xf0);
        chip.Mouse.Move(4, 0, 0, 0, PointerButtons.Right);
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
        chip.Mouse.Move(1, 0, 0, 0, PointerButtons.None);
        chip.Keyboard.Key(0x1e, true);
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
            chip.Keyboard.Key((ushort)random.Next(0x10000), random.Next(2) == 0);
            chip.Mouse.Move(random.Next(), random.Next() - (1 << 30), random.Next(9) - 4, random.Next(5) - 2, (PointerButtons)random.Next(32));
        });
    }
}
