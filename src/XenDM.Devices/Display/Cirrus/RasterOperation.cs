using System;
using System.Numerics;
using System.Runtime.InteropServices;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// One of the sixteen raster operations of GR32: a function of a source and a destination bit, kept as a polynomial over them
/// (k0 xor k1 d xor k2 s xor k3 s d), so that one loop does them all.
/// </summary>
internal readonly struct RasterOperation
{
    private readonly byte _one, _destination, _source, _both;

    /// <param name="code">GR32. A code that is none of the data sheet's leaves the destination alone.</param>
    public RasterOperation(byte code)
    {
        // The truth table: the result for source and destination 00, 01, 10 and 11 in bits 0 to 3.
        var truth = code switch
        {
            0x00 => 0b0000,
            0x05 => 0b1000,
            0x09 => 0b0100,
            0x0b => 0b0101,
            0x0d => 0b1100,
            0x0e => 0b1111,
            0x50 => 0b0010,
            0x59 => 0b0110,
            0x6d => 0b1110,
            0x90 => 0b0001,
            0x95 => 0b1001,
            0xad => 0b1101,
            0xd0 => 0b0011,
            0xd6 => 0b1011,
            0xda => 0b0111,
            _ => 0b1010,
        };
        int none = truth & 1, destination = (truth >> 1) & 1, source = (truth >> 2) & 1, both = truth >> 3;
        _one = (byte)-none;
        _destination = (byte)-(none ^ destination);
        _source = (byte)-(none ^ source);
        _both = (byte)-(none ^ destination ^ source ^ both);
    }

    /// <summary>The result is the source.</summary>
    private bool IsCopy => _source == 0xff && (_one | _destination | _both) == 0;

    public byte Apply(byte source, byte destination) => (byte)(_one ^ (_destination & destination) ^ (_source & source) ^ (_both & source & destination));

    /// <summary>Works on all bytes at once: as if no byte of the source had been changed meanwhile.</summary>
    /// <param name="source">As long as <paramref name="destination"/>; the two do not overlap.</param>
    public void Apply(Span<byte> destination, ReadOnlySpan<byte> source)
    {
        if (IsCopy)
        {
            source.CopyTo(destination);
            return;
        }

        Vector<byte> one = new(_one), onDestination = new(_destination), onSource = new(_source), onBoth = new(_both);
        var to = MemoryMarshal.Cast<byte, Vector<byte>>(destination);
        var from = MemoryMarshal.Cast<byte, Vector<byte>>(source[..destination.Length]);
        for (var i = 0; i < to.Length; i++)
        {
            Vector<byte> s = from[i], d = to[i];
            to[i] = one ^ (onDestination & d) ^ (onSource & s) ^ (onBoth & s & d);
        }

        for (var i = to.Length * Vector<byte>.Count; i < destination.Length; i++) destination[i] = Apply(source[i], destination[i]);
    }

    /// <inheritdoc cref="Apply(Span{byte}, ReadOnlySpan{byte})"/>
    /// <param name="mask">ff for bytes that are written, 0 for others; as long as <paramref name="destination"/>.</param>
    public void Apply(Span<byte> destination, ReadOnlySpan<byte> source, ReadOnlySpan<byte> mask)
    {
        Vector<byte> one = new(_one), onDestination = new(_destination), onSource = new(_source), onBoth = new(_both);
        var to = MemoryMarshal.Cast<byte, Vector<byte>>(destination);
        var from = MemoryMarshal.Cast<byte, Vector<byte>>(source[..destination.Length]);
        var where = MemoryMarshal.Cast<byte, Vector<byte>>(mask[..destination.Length]);
        for (var i = 0; i < to.Length; i++)
        {
            Vector<byte> s = from[i], d = to[i];
            to[i] = Vector.ConditionalSelect(where[i], one ^ (onDestination & d) ^ (onSource & s) ^ (onBoth & s & d), d);
        }

        for (var i = to.Length * Vector<byte>.Count; i < destination.Length; i++)
            if (mask[i] != 0) destination[i] = Apply(source[i], destination[i]);
    }
}
