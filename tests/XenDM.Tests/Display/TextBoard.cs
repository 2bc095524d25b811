using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;
using XenDM.Devices.Input;
using XenDM.Testing;

namespace XenDM.Tests.Display;

/// <summary>An adapter in an 80x25 text mode and a keyboard.</summary>
internal sealed class TextBoard : TestBoardHolder
{
    public TextBoard()
    {
        Vga = new StdVga("vga", new ManagedVideoMemory(1 << 20), default, Board.Hypervisor.Memory, Board.Clock);
        Board.Pci.Add(Vga, 2);
        Keyboard = new I8042(Board.IsaLine(1), Board.IsaLine(12), Board.Clock, Board);
        Keyboard.MapPorts(Board.Ports);
        Input.Add(Keyboard.Keyboard);
        Vga.Reset(ResetKind.Cold);
        Board.Out8(0x3c2, 0x67);
        Indexed(0x3c4, [3, 0, 3, 0, 2]);
        Indexed(0x3d4, [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x0e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff]);
        Indexed(0x3ce, [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff]);
        Attribute(0x10, 0x0c);
        Attribute(0x12, 0x0f);
        ReadOnlySpan<uint> colours = [0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa, 0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff];
        for (var n = 0; n < 16; n++)
        {
            Attribute(n, n);
            Dac(n, colours[n]);
        }

        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x20);
        Clear();
        Screen.Add(Vga);
    }

    public ScreenHub Screen { get; } = new();

    public StdVga Vga { get; }

    public I8042 Keyboard { get; }

    public InputHub Input { get; } = new();

    public void Dac(int index, uint colour)
    {
        Board.Out8(0x3c8, index);
        for (var shift = 16; shift >= 0; shift -= 8) Board.Out8(0x3c9, (int)(colour >> shift) >> 2);
    }

    public void Crtc(int index, int value) => Board.Out16(0x3d4, (value << 8) | index);

    public void Cursor(int column, int row)
    {
        Crtc(0x0e, ((row * 80) + column) >> 8);
        Crtc(0x0f, ((row * 80) + column) & 0xff);
    }

    public void Print(int column, int row, string text, int attribute = 7)
    {
        for (var n = 0; n < text.Length; n++) Board.Memory.Write(0xb_8000 + (ulong)(2 * ((row * 80) + column + n)), 2, text[n] | ((uint)attribute << 8));
    }

    public void Clear()
    {
        for (var row = 0; row < 25; row++) Print(0, row, new string(' ', 80));
    }

    public TextScreen Text()
    {
        var screen = new TextScreen();
        Vga.Screen.ReadText(screen);
        return screen;
    }

    private void Indexed(ushort port, ReadOnlySpan<byte> values)
    {
        for (var n = 0; n < values.Length; n++) Board.Out16(port, (values[n] << 8) | n);
    }

    private void Attribute(int index, int value)
    {
        Board.In8(0x3da);
        Board.Out8(0x3c0, index);
        Board.Out8(0x3c0, value);
    }
}

/// <summary>The board first, so that chips can be made in constructors.</summary>
internal abstract class TestBoardHolder
{
    public TestBoard Board { get; } = new();
}

/// <summary>A terminal that takes as many bytes as the test allows.</summary>
internal sealed class FakeTerminal : ICharBackend
{
    private readonly List<byte> _written = [];
    private ICharFrontend? _frontend;

    public int Room { get; set; } = int.MaxValue;

    public string Label => "display";

    public string FileName => "fake";

    public bool IsOpen => true;

    /// <summary>What was written since the last call.</summary>
    public string Take()
    {
        var text = Encoding.UTF8.GetString([.. _written]);
        _written.Clear();
        return text;
    }

    public void Type(string text) => _frontend!.Receive(Encoding.UTF8.GetBytes(text));

    public void Drain()
    {
        Room = int.MaxValue;
        _frontend!.WriteReady();
    }

    public void HangUp() => _frontend!.Event(CharEvent.Closed);

    public void Attach(ICharFrontend frontend) => _frontend = frontend;

    public int Write(ReadOnlySpan<byte> data)
    {
        var taken = Math.Min(Room, data.Length);
        Room -= Room == int.MaxValue ? 0 : taken;
        _written.AddRange(data[..taken]);
        return taken;
    }

    public void AcceptInput()
    {
    }

    public int TakeFd() => -1;

    public void SetBreak(bool on)
    {
    }

    public void Dispose()
    {
    }
}
