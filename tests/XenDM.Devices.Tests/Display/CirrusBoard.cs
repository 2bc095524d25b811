using System;
using XenDM.Core.Display;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Cirrus;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Display;

/// <summary>The CL-GD5446 at 00:02.0, driven as its firmware and its drivers do it.</summary>
internal sealed class CirrusBoard
{
    public const uint Linear = 0xe000_0000;
    public const uint Aperture = Linear + (16 << 20);
    public const uint Mmio = 0xf000_0000;
    public const int Slot = 2;

    public CirrusBoard(int memoryMiB = 4, byte[]? rom = null)
    {
        Memory = new ManagedVideoMemory(memoryMiB << 20);
        Chip = new CirrusVga("vga", Memory, rom, Board.Hypervisor.Memory, Board.Clock);
        Board.Pci.Add(Chip, Slot);
        Chip.Reset(ResetKind.Cold);
        Board.ConfigWrite(Slot, 0, 0x10, 4, Linear);
        Board.ConfigWrite(Slot, 0, 0x14, 4, Mmio);
        Board.ConfigWrite(Slot, 0, 0x04, 2, 0x0003);
        Board.Out8(0x3c2, 0xe3);
    }

    public TestBoard Board { get; } = new();

    public ManagedVideoMemory Memory { get; }

    public CirrusVga Chip { get; }

    public Span<byte> Vram => Memory.Bytes;

    public Frame Frame { get; } = new();

    public Damage Damage { get; } = new();

    public void Sequencer(int index, int value) => Board.Out16(0x3c4, (value << 8) | index);

    public void Crtc(int index, int value) => Board.Out16(0x3d4, (value << 8) | index);

    public void Graphics(int index, int value) => Board.Out16(0x3ce, ((value & 0xff) << 8) | index);

    public byte ReadSequencer(int index)
    {
        Board.Out8(0x3c4, index);
        return Board.In8(0x3c5);
    }

    public byte ReadCrtc(int index)
    {
        Board.Out8(0x3d4, index);
        return Board.In8(0x3d5);
    }

    public byte ReadGraphics(int index)
    {
        Board.Out8(0x3ce, index);
        return Board.In8(0x3cf);
    }

    public void HiddenDac(int value)
    {
        for (var i = 0; i < 4; i++) Board.In8(0x3c6);
        Board.Out8(0x3c6, value);
    }

    public void Dac(int index, int red, int green, int blue)
    {
        Board.Out8(0x3c8, index);
        foreach (var value in (int[])[red, green, blue]) Board.Out8(0x3c9, value);
    }

    /// <summary>Sets a packed mode as SeaBIOS's VGA BIOS does.</summary>
    /// <param name="pitch">Bytes, a multiple of 8.</param>
    public void Mode(int width, int height, int depth, int pitch)
    {
        var (mode, hidden) = depth switch { 8 => (0x11, 0x00), 15 => (0x17, 0xf0), 16 => (0x17, 0xe1), 24 => (0x15, 0xe5), _ => (0x19, 0xe5) };
        Sequencer(6, 0x12);
        foreach (var (index, value) in ((int, int)[])[(0, 3), (1, 0x21), (2, 0x0f), (3, 0), (4, 0x0e), (7, mode), (0x12, 4), (0x13, 0), (0x17, 0x20)]) Sequencer(index, value);
        for (var index = 0; index < 12; index++) Graphics(index, index switch { 5 => 0x40, 6 => 0x05, 7 => 0x0f, 8 => 0xff, _ => 0 });
        Crtc(0x11, 0x2c);
        Crtc(1, (width / 8) - 1);
        Crtc(7, 0x10 | (((height - 1) & 0x100) >> 7) | (((height - 1) & 0x200) >> 3));
        Crtc(9, 0x40);
        foreach (var index in (int[])[0x0c, 0x0d, 0x1a, 0x1d]) Crtc(index, 0);
        Crtc(0x12, (height - 1) & 0xff);
        Crtc(0x13, (pitch / 8) & 0xff);
        Crtc(0x17, 0xc3);
        Crtc(0x18, 0xff);
        Crtc(0x1b, 0x22 | (pitch / 8 >> 8 << 4));
        Board.Out8(0x3c6, 0);
        HiddenDac(hidden);
        Board.Out8(0x3c6, 0xff);
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x20);
    }

    public void Blit(in Blit blit)
    {
        void Number(int register, int bytes, int value)
        {
            for (var i = 0; i < bytes; i++) Graphics(register + i, value >> (8 * i));
        }

        for (var i = 0; i < 4; i++)
        {
            Graphics(i == 0 ? 0x00 : 0x0e + (2 * i), (int)(blit.Background >> (8 * i)));
            Graphics(i == 0 ? 0x01 : 0x0f + (2 * i), (int)(blit.Foreground >> (8 * i)));
        }

        Number(0x20, 2, blit.Width - 1);
        Number(0x22, 2, blit.Height - 1);
        Number(0x24, 2, blit.DestinationPitch);
        Number(0x26, 2, blit.SourcePitch);
        Number(0x28, 3, blit.Destination);
        Number(0x2c, 3, blit.Source);
        Graphics(0x2f, blit.Clip);
        Graphics(0x30, blit.Mode);
        Graphics(0x32, blit.Operation);
        Graphics(0x33, blit.Extension);
        Number(0x34, 2, blit.Key);
        Number(0x38, 2, blit.KeyMask);
        Graphics(0x31, 2);
    }

    public bool IsBusy => (ReadGraphics(0x31) & 9) != 0;

    /// <summary>Draws the whole screen.</summary>
    public void Render()
    {
        var (width, height) = Chip.Size!.Value;
        Frame.Resize(width, height);
        Damage.Resize(width, height);
        Chip.Draw(Frame, Damage, true);
    }

    /// <summary>Draws what changed, for one who looked before.</summary>
    public void Refresh()
    {
        Damage.Clear();
        Chip.Draw(Frame, Damage, false);
    }

    public uint Pixel(int x, int y) => Frame.Line(y)[x];
}

/// <summary>A blit as a driver asks for it.</summary>
internal record struct Blit
{
    public const int Backwards = 0x01, ToSystem = 0x02, FromSystem = 0x04, Transparent = 0x08, Pattern = 0x40, Expand = 0x80;
    public const int Dwords = 0x01, Invert = 0x02, Solid = 0x04;
    public const int Copy = 0x0d;

    public Blit()
    {
    }

    /// <summary>Bytes.</summary>
    public int Width { get; init; } = 1;

    public int Height { get; init; } = 1;

    public int DestinationPitch { get; init; }

    public int SourcePitch { get; init; }

    public int Destination { get; init; }

    public int Source { get; init; }

    public int Clip { get; init; }

    public int Mode { get; init; }

    public int Operation { get; init; } = Copy;

    public int Extension { get; init; }

    public int Key { get; init; }

    public int KeyMask { get; init; }

    public uint Foreground { get; init; }

    public uint Background { get; init; }

    /// <summary>Bytes of a pixel.</summary>
    public readonly int Bytes => ((Mode >> 4) & 3) + 1;

    /// <summary>GR30 bits of a pixel of so many bytes.</summary>
    public static int Depth(int bytes) => (bytes - 1) << 4;
}
