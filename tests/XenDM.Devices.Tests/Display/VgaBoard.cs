using System;
using XenDM.Core.Display;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Display;

/// <summary>The adapter at 00:02.0, driven by its ports as a VGA BIOS does it.</summary>
internal sealed class VgaBoard
{
    public const ulong FrameBuffer = 0xe000_0000;
    public const ulong Registers = 0xf000_0000;
    public const int Slot = 2;

    /// <summary>80x25 characters of 9 by 16 dots: the values that VGA BIOSes program for mode 3.</summary>
    private static readonly byte[] s_textCrtc = [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff];

    /// <summary>320x200, 256 colours: mode 13h.</summary>
    private static readonly byte[] s_packedCrtc = [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff];

    /// <summary>640x480, 16 colours: mode 12h.</summary>
    private static readonly byte[] s_planarCrtc = [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff];

    /// <summary>320x200, four colours: mode 4.</summary>
    private static readonly byte[] s_cgaCrtc = [0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff];

    /// <summary>Nanoseconds of the bright and of the dark part of blinking.</summary>
    public const long BlinkTime = 16 * 1_000_000_000L / 70;

    public VgaBoard(int memoryBytes = 1 << 20, byte[]? rom = null)
    {
        Memory = new ManagedVideoMemory(memoryBytes);
        Chip = new StdVga("vga", Memory, rom, Board.Hypervisor.Memory, Board.Clock);
        Board.Pci.Add(Chip, Slot);
        Chip.Reset(ResetKind.Cold);
    }

    public TestBoard Board { get; } = new();

    public ManagedVideoMemory Memory { get; }

    public StdVga Chip { get; }

    public Frame Frame { get; } = new();

    public Damage Damage { get; } = new();

    public Span<byte> Vram => Memory.Bytes;

    /// <summary>What was written to the registers, for who wants to know what the screen has to show.</summary>
    public byte[] SequencerValues { get; } = new byte[8];

    /// <inheritdoc cref="SequencerValues"/>
    public byte[] CrtcValues { get; } = new byte[64];

    /// <inheritdoc cref="SequencerValues"/>
    public byte[] GraphicsValues { get; } = new byte[16];

    /// <inheritdoc cref="SequencerValues"/>
    public byte[] AttributeValues { get; } = new byte[64];

    /// <summary>The palette as 00RRGGBB.</summary>
    public uint[] Colours { get; } = new uint[256];

    private int _misc;

    /// <summary>Miscellaneous output; its bit 0 says where the CRT controller's ports are.</summary>
    public void Misc(int value)
    {
        _misc = value;
        Board.Out8(0x3c2, value);
    }

    public void Sequencer(int index, int value)
    {
        SequencerValues[index] = (byte)value;
        Board.Out16(0x3c4, (value << 8) | index);
    }

    public void Crtc(int index, int value)
    {
        CrtcValues[index] = (byte)value;
        Board.Out16((ushort)((_misc & 1) != 0 ? 0x3d4 : 0x3b4), (value << 8) | index);
    }

    public void Graphics(int index, int value)
    {
        GraphicsValues[index] = (byte)value;
        Board.Out16(0x3ce, (value << 8) | index);
    }

    public void Attribute(int index, int value)
    {
        AttributeValues[index & 0x1f] = (byte)value;
        Board.In8((ushort)((_misc & 1) != 0 ? 0x3da : 0x3ba));
        Board.Out8(0x3c0, index);
        Board.Out8(0x3c0, value);
    }

    public byte ReadCrtc(int index)
    {
        Board.Out8(0x3d4, index);
        return Board.In8(0x3d5);
    }

    public void Dac(int index, int red, int green, int blue)
    {
        Board.Out8(0x3c8, index);
        foreach (var value in (int[])[red, green, blue])
        {
            Board.Out8(0x3c9, value);
            Colours[index] = (Colours[index] << 8) | (uint)((value << 2) | (value >> 4));
        }

        Colours[index] &= 0xff_ffff;
    }

    public void Vbe(int index, int value)
    {
        Board.Out16(0x1ce, index);
        Board.Out16(0x1cf, value);
    }

    public ushort ReadVbe(int index)
    {
        Board.Out16(0x1ce, index);
        return Board.In16(0x1cf);
    }

    public void Poke(uint address, int value) => Board.Memory.Write(address, 1, (byte)value);

    public byte Peek(uint address) => (byte)Board.Memory.Read(address, 1);

    public void TextMode()
    {
        SetMode(0x67, [3, 0, 3, 0, 2], s_textCrtc, [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff], 0x0c, 8);
        ReadOnlySpan<byte> palette = [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f];
        for (var n = 0; n < 16; n++) Attribute(n, palette[n]);
        Attribute(0x12, 0x0f);
        Finish();

        // The EGA's colours: two bits of each primary, the low one from bits 5:3.
        for (var n = 0; n < 64; n++) Dac(n, Primary(n, 2), Primary(n, 1), Primary(n, 0));
    }

    public void PackedMode()
    {
        SetMode(0x63, [3, 1, 0x0f, 0, 0x0e], s_packedCrtc, [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41, 0);
        Identity(0x0f);
    }

    public void PlanarMode()
    {
        SetMode(0xe3, [3, 1, 0x0f, 0, 0x06], s_planarCrtc, [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01, 0);
        Identity(0x0f);
    }

    public void CgaMode()
    {
        SetMode(0x63, [3, 9, 3, 0, 2], s_cgaCrtc, [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff], 0x01, 0);
        Identity(0x03);
    }

    public void VbeMode(int width, int height, int depth, int extra = 0)
    {
        Vbe(4, 0);
        Vbe(1, width);
        Vbe(2, height);
        Vbe(3, depth);
        Vbe(4, 0x41 | extra);
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x20);
    }

    public void MapBars()
    {
        Board.ConfigWrite(Slot, 0, 0x10, 4, (uint)FrameBuffer);
        Board.ConfigWrite(Slot, 0, 0x18, 4, (uint)Registers);
        Board.ConfigWrite(Slot, 0, 0x04, 2, 0x0003);
    }

    /// <summary>Draws the screen; <see cref="Pixel"/> looks at it.</summary>
    public void Render(bool blinkOn = true)
    {
        // Blinking follows guest time while somebody looks, and is in its bright part otherwise.
        Chip.SetRefreshPeriod(blinkOn ? 0 : 30);
        while (!blinkOn && Board.Clock.Now / BlinkTime % 2 == 0) Board.Advance(BlinkTime);
        var (width, height) = Chip.Size!.Value;
        Frame.Resize(width, height);
        Damage.Resize(width, height);
        Chip.Draw(Frame, Damage, true);
        Chip.SetRefreshPeriod(0);
    }

    public uint Pixel(int x, int y) => Frame.Line(y)[x];

    private static int Primary(int colour, int bit) => (((colour >> bit) & 1) * 42) + (((colour >> (bit + 3)) & 1) * 21);

    private void Identity(int planes)
    {
        for (var n = 0; n < 16; n++) Attribute(n, n);
        Attribute(0x12, planes);
        Finish();
        for (var n = 0; n < 256; n++) Dac(n, n & 0x3f, (n >> 1) & 0x3f, (n >> 2) & 0x3f);
    }

    public void SetMode(int misc, byte[] sequencer, byte[] crtc, byte[] graphics, int attributeMode, int pan)
    {
        Vbe(4, 0);
        Misc(misc);
        Sequencer(0, 1);
        for (var n = 1; n < 5; n++) Sequencer(n, sequencer[n]);
        Sequencer(0, 3);
        Crtc(0x11, 0);
        for (var n = 0; n < crtc.Length; n++) Crtc(n, crtc[n]);
        for (var n = 0; n < graphics.Length; n++) Graphics(n, graphics[n]);
        Attribute(0x10, attributeMode);
        Attribute(0x11, 0);
        Attribute(0x13, pan);
        Attribute(0x14, 0);
        Board.Out8(0x3c6, 0xff);
    }

    /// <summary>Gives the palette to the screen.</summary>
    public void Finish()
    {
        Board.In8((ushort)((_misc & 1) != 0 ? 0x3da : 0x3ba));
        Board.Out8(0x3c0, 0x20);
    }
}
