using BenchmarkDotNet.Attributes;
using XenDM.Core.Registers;

namespace XenDM.Benchmarks;

/// <summary>What the register table costs beside a switch written by hand for the same chip.</summary>
[MemoryDiagnoser]
public class RegisterTableBenchmark
{
    private static readonly RegisterTable<Chip> s_table = new RegisterTable<Chip>("chip", 8)
        .Byte(0, "DAT", static c => ref c.Data)
        .Byte(1, "IER", static c => ref c.Enable, mask: 0x0f, after: static c => c.Update())
        .Byte(2, "IIR", static c => ref c.Identify, mask: 0)
        .Byte(3, "LCR", static c => ref c.Line)
        .Byte(4, "MCR", static c => ref c.Modem, mask: 0x1f)
        .Byte(5, "LSR", static c => ref c.Status, mask: 0)
        .Byte(6, "MSR", static c => ref c.Delta, mask: 0, readClear: 0x0f)
        .Byte(7, "SCR", static c => ref c.Scratch)
        .Build();

    private readonly Chip _chip = new();
    private ulong _offset;

    [Benchmark(Baseline = true)]
    public ulong SwitchRead() => _chip.Read(_offset++ & 7);

    [Benchmark]
    public ulong TableRead() => s_table.Read(_chip, _offset++ & 7, 1);

    [Benchmark]
    public void SwitchWrite() => _chip.Write(_offset++ & 7, (byte)_offset);

    [Benchmark]
    public void TableWrite() => s_table.Write(_chip, _offset++ & 7, 1, _offset);

    [Benchmark]
    public ulong TableReadSplitDword() => s_table.Read(_chip, 0, 4);

    private sealed class Chip
    {
        public byte Data, Enable, Identify, Line, Modem, Status, Delta, Scratch;
        private int _updates;

        public void Update() => _updates++;

        public ulong Read(ulong offset)
        {
            switch (offset)
            {
                case 0: return Data;
                case 1: return Enable;
                case 2: return Identify;
                case 3: return Line;
                case 4: return Modem;
                case 5: return Status;
                case 6:
                    var value = Delta;
                    Delta &= 0xf0;
                    return value;
                default: return Scratch;
            }
        }

        public void Write(ulong offset, byte value)
        {
            switch (offset)
            {
                case 0: Data = value; break;
                case 1:
                    Enable = (byte)(value & 0x0f);
                    Update();
                    break;
                case 3: Line = value; break;
                case 4: Modem = (byte)(value & 0x1f); break;
                case 7: Scratch = value; break;
            }
        }
    }
}
