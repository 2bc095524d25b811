using BenchmarkDotNet.Attributes;
using XenDM.Core.Io;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>Hops 2 and 3: from a request to a region's handler, among as many mapped regions as a full board has.</summary>
[MemoryDiagnoser]
public class DispatchBenchmark
{
    private readonly TestBoard _board = new();
    private IoRequest _one = new() { Space = IoSpace.Port, Address = 0x3f6, Size = 1, Count = 1, IsRead = true };
    private IoRequest _other = new() { Space = IoSpace.Port, Address = 0x64, Size = 1, Count = 1, IsRead = true };
    private IoRequest _rep = new() { Space = IoSpace.Port, Address = 0x1f0, Size = 2, Count = 256, IsRead = true, DataIsPointer = true, Data = 0x8000 };

    [GlobalSetup]
    public void SetUp()
    {
        for (ushort port = 0; port < 0x400; port += 0x10) _board.Ports.Map("r", port, 0x10, new Region());
    }

    /// <summary>The same register again and again: the last-hit cache serves it.</summary>
    [Benchmark(Baseline = true)]
    public ulong SamePort()
    {
        _board.Io.Dispatch(ref _one);
        return _one.Data;
    }

    /// <summary>Two registers in turn: each access searches.</summary>
    [Benchmark(OperationsPerInvoke = 2)]
    public ulong TwoPorts()
    {
        _board.Io.Dispatch(ref _one);
        _board.Io.Dispatch(ref _other);
        return _other.Data;
    }

    /// <summary>A sector by <c>rep insw</c>, item by item.</summary>
    [Benchmark(OperationsPerInvoke = 256)]
    public ulong RepeatedItems()
    {
        _board.Io.Dispatch(ref _rep);
        return _rep.Data;
    }

    private sealed class Region : IIoRegion
    {
        public ulong Read(ulong offset, int size) => offset;

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }
}
