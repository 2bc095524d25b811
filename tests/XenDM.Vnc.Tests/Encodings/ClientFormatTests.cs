using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using XenDM.Vnc.Encodings;

namespace XenDM.Vnc.Tests.Encodings;

public class ClientFormatTests
{
    public static TheoryData<string> All => [.. Formats.All.Keys];

    [Theory]
    [MemberData(nameof(All))]
    public void PixelsBecomeWhatTheFormatSays(string name)
    {
        var format = Formats.All[name];
        var random = new Random(1);
        var pixels = Enumerable.Range(0, 1031).Select(i => i < 8 ? new uint[] { 0, 0xffffff, 0xff0000, 0xff00, 0xff, 1, 0x100, 0x10000 }[i] : (uint)random.Next(0x1000000)).ToArray();
        var bytes = new byte[pixels.Length * format.BytesPerPixel];
        format.Convert(pixels, bytes);
        for (var i = 0; i < pixels.Length; i++) Assert.Equal(Formats.Value(format, pixels[i]), Formats.Read(format, bytes, i));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void WhatIsWrittenIsReadAgain(string name)
    {
        var bytes = new byte[16];
        Formats.All[name].Write(bytes);
        Assert.True(ClientFormat.TryRead(bytes, out var again));
        var copy = new byte[16];
        again.Write(copy);
        Assert.Equal(bytes, copy);
    }

    [Theory]
    [InlineData(24, 255, 0)]
    [InlineData(0, 255, 0)]
    [InlineData(64, 255, 0)]
    [InlineData(8, 255, 1)]
    [InlineData(16, 65535, 1)]
    [InlineData(32, 255, 25)]
    [InlineData(32, 255, 32)]
    [InlineData(32, 0, 255)]
    public void FormatsThatCannotBeAreRefused(byte bits, ushort max, byte shift)
    {
        byte[] bytes = [bits, 24, 0, 1, 0, 1, 0, 1, (byte)(max >> 8), (byte)max, 0, 0, shift, 0, 0, 0];
        Assert.False(ClientFormat.TryRead(bytes, out _));
    }

    [Fact]
    public void TheColourMapIsWhatIndicesMean()
    {
        var output = new ArrayBufferWriter<byte>();
        ClientFormat.WriteColourMap(output);
        var message = output.WrittenSpan;
        Assert.Equal(6 + (256 * 6), message.Length);
        Assert.Equal([1, 0, 0, 0, 1, 0], message[..6].ToArray());
        var format = Formats.All["map8"];
        foreach (var colour in new uint[] { 0, 0xffffff, 0xff0000, 0x00ff00, 0x0000ff, 0x808080, 0x123456 })
        {
            var index = new byte[1];
            format.Convert([colour], index);
            var entry = message[(6 + (index[0] * 6))..];
            Assert.InRange(Math.Abs(entry[0] - (int)(colour >> 16)), 0, 19);
            Assert.InRange(Math.Abs(entry[2] - (int)(byte)(colour >> 8)), 0, 19);
            Assert.InRange(Math.Abs(entry[4] - (int)(byte)colour), 0, 43);
        }
    }
}

/// <summary>Formats that clients ask for, and their meaning written down once more.</summary>
internal static class Formats
{
    public static readonly IReadOnlyDictionary<string, ClientFormat> All = new Dictionary<string, ClientFormat>
    {
        ["rgb888"] = ClientFormat.Native,
        ["rgb888be"] = Make(32, 24, true, true, 255, 255, 255, 16, 8, 0),
        ["bgr888"] = Make(32, 24, false, true, 255, 255, 255, 0, 8, 16),
        ["bgr888be"] = Make(32, 24, true, true, 255, 255, 255, 0, 8, 16),
        ["rgbx888"] = Make(32, 24, false, true, 255, 255, 255, 24, 16, 8),
        ["rgbx888be"] = Make(32, 24, true, true, 255, 255, 255, 24, 16, 8),
        ["grb888odd"] = Make(32, 24, false, true, 255, 255, 255, 9, 1, 17),
        ["rgb888d32"] = Make(32, 32, false, true, 255, 255, 255, 16, 8, 0),
        ["rgb101010"] = Make(32, 30, false, true, 1023, 1023, 1023, 20, 10, 0),
        ["rgb666"] = Make(32, 18, false, true, 63, 63, 63, 12, 6, 0),
        ["rgb565"] = Make(16, 16, false, true, 31, 63, 31, 11, 5, 0),
        ["rgb565be"] = Make(16, 16, true, true, 31, 63, 31, 11, 5, 0),
        ["bgr555"] = Make(16, 15, false, true, 31, 31, 31, 0, 5, 10),
        ["rgb444be"] = Make(16, 12, true, true, 15, 15, 15, 8, 4, 0),
        ["bgr233"] = Make(8, 8, false, true, 7, 7, 3, 0, 3, 6),
        ["rgb332"] = Make(8, 8, true, true, 7, 7, 3, 5, 2, 0),
        ["rgb222"] = Make(8, 6, false, true, 3, 3, 3, 4, 2, 0),
        ["rgb111"] = Make(8, 3, false, true, 1, 1, 1, 2, 1, 0),
        ["map8"] = Make(8, 8, false, false, 0, 0, 0, 0, 0, 0),
    };

    public static ClientFormat Make(byte bits, byte depth, bool big, bool trueColour, ushort redMax, ushort greenMax, ushort blueMax, byte redShift, byte greenShift, byte blueShift)
    {
        byte[] message = [bits, depth, (byte)(big ? 1 : 0), (byte)(trueColour ? 1 : 0), (byte)(redMax >> 8), (byte)redMax, (byte)(greenMax >> 8), (byte)greenMax,
            (byte)(blueMax >> 8), (byte)blueMax, redShift, greenShift, blueShift, 0, 0, 0];
        return ClientFormat.TryRead(message, out var format) ? format : throw new ArgumentException("no such format", nameof(bits));
    }

    /// <summary>The number that a pixel of a frame is in a format.</summary>
    public static uint Value(ClientFormat format, uint pixel)
    {
        static uint Part(uint value, int max, int shift) => (uint)Math.Round(value * max / 255.0) << shift;
        uint red = (pixel >> 16) & 0xff, green = (pixel >> 8) & 0xff, blue = pixel & 0xff;
        return format.IsTrueColour
            ? Part(red, format.RedMax, format.RedShift) | Part(green, format.GreenMax, format.GreenShift) | Part(blue, format.BlueMax, format.BlueShift)
            : Part(red, 7, 0) | Part(green, 7, 3) | Part(blue, 3, 6);
    }

    /// <summary>The number of a pixel in a client's bytes.</summary>
    public static uint Read(ClientFormat format, ReadOnlySpan<byte> bytes, int index)
    {
        var pixel = bytes.Slice(index * format.BytesPerPixel, format.BytesPerPixel);
        uint value = 0;
        for (var i = 0; i < pixel.Length; i++) value |= (uint)pixel[i] << (8 * (format.IsBigEndian ? pixel.Length - 1 - i : i));
        return value;
    }
}
