using System;
using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using XenDM.Core.State;
using XenDM.Devices.Network;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>The emulated NICs between guest memory and a backend that takes and gives frames at no cost: time of one frame of 1514 bytes, or of 64 KiB to cut.</summary>
[MemoryDiagnoser]
public class NicBenchmark
{
    private const ulong Bar = 0xf300_0000;
    private const int Frames = 64, Ring = 0x1000, ReceiveRing = 0x2000, Buffers = 0x10_0000;
    private const uint Own = 0x8000_0000, End = 0x4000_0000, Whole = 0x3000_0000;
    private static readonly byte[] s_mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    private readonly TestBoard _board = new(4 << 20);
    private readonly FakeNet _net = new() { Log = false };
    private readonly byte[] _frame = new byte[1514];
    private bool _isIntel;
    private uint _tail;

    [GlobalSetup(Targets = [nameof(E1000Send), nameof(E1000SendLarge), nameof(E1000Receive)])]
    public void SetUpE1000()
    {
        var chip = new E1000("nic", s_mac, _net, [], _board.Ram, _board.Clock);
        _isIntel = true;
        Add(chip, bar: 0x10);
        foreach (var (register, value) in (ReadOnlySpan<(uint, uint)>)[(0x3800, Ring), (0x3808, Frames * 32), (0x400, 0xa), (0x2800, ReceiveRing), (0x2808, Frames * 32), (0x100, 0x8002)]) Write(register, value);
        for (var i = 0; i < Frames * 2; i++) Descriptor(Ring + (i * 16), (ulong)Buffers, 1514 | 0x0b00_0000u, 0);
        for (var i = 0; i < Frames * 2; i++) Descriptor(ReceiveRing + (i * 16), (ulong)(Buffers + (i * 2048)), 0, 0);
    }

    [GlobalSetup(Targets = [nameof(Rtl8139Send), nameof(Rtl8139Receive)])]
    public void SetUpRtl8139()
    {
        Add(new Rtl8139("nic", s_mac, _net, [], _board.Ram, _board.Clock), bar: 0x14);
        Write(0xe0, 3);
        foreach (var (register, value) in (ReadOnlySpan<(uint, uint)>)[(0x20, Ring), (0x24, 0), (0xe4, ReceiveRing), (0xe8, 0)]) Write(register, value);
        _board.Memory.Write(Bar + 0x37, 1, 0xc);
        Write(0x44, 0xe);
    }

    /// <summary>64 descriptors of whole frames with one doorbell.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Frames)]
    public long E1000Send()
    {
        _tail = (_tail + Frames) % (Frames * 2);
        Write(0x3818, _tail);
        return _net.Count;
    }

    /// <summary>64 KiB of TCP, left to the backend: a context, headers, data.</summary>
    [Benchmark]
    public long E1000SendLarge()
    {
        Write(0x400, 0);
        Write(0x3810, 0);
        Write(0x3818, 2);
        var frame = _board.Ram.Bytes[Buffers..];
        frame[..54].Clear();
        (frame[12], frame[14], frame[23], frame[46]) = (8, 0x45, 6, 0x50);
        frame[51] = 6;
        Descriptor(Ring, 0x0000_3222_0021_180eul, 0x2700_0000, (1448u << 16) | (54 << 8));
        Descriptor(Ring + 16, Buffers, 65000 | 0x2d10_0000u, 0x300);
        Write(0x400, 0xa);
        return _net.Bytes;
    }

    [Benchmark(OperationsPerInvoke = Frames)]
    public long E1000Receive()
    {
        Write(0x2818, (_tail + Frames - 1) % (Frames * 2));
        for (var i = 0; i < Frames - 1; i++) _net.Bring(_frame.AsSpan());
        return _tail = (_tail + Frames - 1) % (Frames * 2);
    }

    [Benchmark(OperationsPerInvoke = Frames)]
    public long Rtl8139Send()
    {
        for (var i = 0; i < Frames; i++) Descriptor(Ring + (i * 16), Own | Whole | 1514u | (i == Frames - 1 ? End : 0), 0, 0, Buffers);
        _board.Memory.Write(Bar + 0xd9, 1, 0x40);
        return _net.Count;
    }

    [Benchmark(OperationsPerInvoke = Frames)]
    public long Rtl8139Receive()
    {
        for (var i = 0; i < Frames; i++) Descriptor(ReceiveRing + (i * 16), Own | 1536u | (i == Frames - 1 ? End : 0), 0, 0, (uint)(Buffers + (i * 2048)));
        for (var i = 0; i < Frames; i++) _net.Bring(_frame.AsSpan());
        return _net.Count;
    }

    private void Add(Core.Pci.PciFunction chip, int bar)
    {
        _board.Pci.Add(chip, 4, 0);
        chip.Reset(ResetKind.Cold);
        _board.ConfigWrite(4, 0, bar, 4, (uint)Bar);
        _board.ConfigWrite(4, 0, 4, 2, 6);
        s_mac.CopyTo(_frame, 0);
        _frame[12] = 0x88;
    }

    private void Write(uint register, uint value) => _board.Memory.Write(Bar + register, _isIntel || register != 0xe0 ? 4 : 2, value);

    private void Descriptor(int at, ulong first, uint third, uint fourth, uint second = 0)
    {
        var descriptor = _board.Ram.Bytes.Slice(at, 16);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor, first);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], third | second);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[12..], fourth);
    }
}
