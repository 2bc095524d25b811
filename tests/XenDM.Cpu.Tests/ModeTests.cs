using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>What is peculiar to 64-bit mode, compatibility mode and 16-bit code.</summary>
public sealed unsafe class ModeTests : IDisposable
{
    private const int Df = 8, SsFault = 12, Gp = 13;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    /// <summary>SDM 3, 3.4.4: in 64-bit mode CS, DS, ES and SS have no base, limit or rights; FS and GS have a base.</summary>
    [Theory]
    [InlineData("8b042500100300", 0x11u)] // mov eax, [Data]
    [InlineData("3e8b042500100300", 0x11u)]
    [InlineData("2e8b042500100300", 0x11u)]
    [InlineData("268b042500100300", 0x11u)]
    [InlineData("368b042500100300", 0x11u)]
    [InlineData("648b042500100300", 0x22u)]
    [InlineData("658b042500100300", 0x33u)]
    [InlineData("64268b042500100300", 0x11u)] // the last override counts, and that of ES means nothing
    [InlineData("67648b042500100300", 0x22u)]
    [InlineData("64ad", 0x22u)] // lodsd fs:
    [InlineData("64a1 0010030000000000", 0x22u)]
    public void SegmentsOf64BitMode(string code, uint value)
    {
        foreach (var cpl in new[] { 0, 3 })
        {
            var c = _board.Enter(CodeMode.Long, code == "64268b042500100300" ? "26" + "8b042500100300" : code, cpl);
            foreach (var s in new[] { Segment.Ds, Segment.Es }) c->Seg[s] = new Segment { Base = 0x7000 };
            (c->Seg[Segment.Fs].Base, c->Seg[Segment.Gs].Base) = (0x1000, 0x2000);
            c->Seg[Segment.Fs].Limit = c->Seg[Segment.Gs].Limit = 0;
            _board.Write(Data, 0x11);
            _board.Write(Data + 0x1000, 0x22);
            _board.Write(Data + 0x2000, 0x33);
            c->R[6] = Data;
            var trap = _board.Run();
            Assert.Equal((-1, value), (trap.Vector, (uint)c->R[0]));
        }
    }

    /// <summary>SDM 1, 3.3.7 and 3.6.1: 32-bit addresses are cut before the base of FS comes; compatibility mode wraps at 4 GiB with it.</summary>
    [Theory]
    [InlineData(CodeMode.Long, "678b03", 0xffff_ffff_0003_1000ul, 0ul, -1)] // mov eax, [ebx]
    [InlineData(CodeMode.Long, "64678b03", 0xffff_ffff_0003_0000ul, 0x1000ul, -1)]
    [InlineData(CodeMode.Long, "648b03", 0xffff_ffff_ffff_f000ul, 0x3_2000ul, -1)]
    [InlineData(CodeMode.Long, "648b03", 0x8000_0000_0000ul, 0ul, Gp)]
    [InlineData(CodeMode.Long, "648b03", 0x1000ul, 0x8000_0000_0000ul, Gp)]
    [InlineData(CodeMode.Compat, "648b03", 0xffff_f000ul, 0x3_2000ul, -1)]
    [InlineData(CodeMode.Prot32, "648b03", 0xffff_f000ul, 0x3_2000ul, -1)]
    internal void Addresses(CodeMode mode, string code, ulong rbx, ulong fs, int vector)
    {
        var c = _board.Enter(mode, code);
        c->R[3] = rbx;
        c->Seg[Segment.Fs].Base = fs;
        _board.Write(Data, 0x1234);
        _board.Expect(vector);
        if (vector < 0) Assert.Equal(0x1234ul, c->R[0]);
    }

    /// <summary>Loads of FS and GS: the base of the descriptor has 32 bits, a null selector leaves none.</summary>
    [Theory]
    [InlineData("8ee0", Own, 0x1234_5678ul)]
    [InlineData("8ee0", 0, 0ul)]
    [InlineData("8ee8", Own, 0x1234_5678ul)]
    public void BasesOfLoads(string code, int selector, ulong result)
    {
        var c = _board.Enter(CodeMode.Long, code);
        _board.SetDescriptor(Own, Descriptor(0xc093, 0xfffff, 0x12345678));
        var s = code == "8ee0" ? Segment.Fs : Segment.Gs;
        c->Seg[s].Base = 0xffff_8888_0000_0000;
        c->R[0] = (uint)selector;
        _board.Expect(-1);
        Assert.Equal(result, c->Seg[s].Base);
    }

    /// <summary>SDM 2, LGDT: 24 bits of base with 16-bit operands, 32, or 64 and canonical ones.</summary>
    [Theory]
    [InlineData(CodeMode.Real, "0f01160010", 0xab_cdefu)]
    [InlineData(CodeMode.Real, "660f01160010", 0x89ab_cdefu)]
    [InlineData(CodeMode.Prot32, "0f011500100300", 0x89ab_cdefu)]
    [InlineData(CodeMode.Prot32, "660f011500100300", 0xab_cdefu)]
    internal void Lgdt(CodeMode mode, string code, uint result)
    {
        var c = _board.Enter(mode, code);
        _board.Write(Data, 0x1234, 2);
        _board.Write(Data + 2, 0x89ab_cdef);
        _board.Expect(-1);
        Assert.Equal((result, 0x1234u), ((uint)c->GdtBase, c->GdtLimit));
    }

    [Theory]
    [InlineData("0f01142500100300", 0x7fff_ffff_fffful, -1)]
    [InlineData("0f01142500100300", 0x8000_0000_0000ul, Gp)]
    [InlineData("0f011c2500100300", 0xffff_8000_0000_0000ul, -1)]
    [InlineData("0f011c2500100300", 0x7000_0000_0000_0000ul, Gp)]
    public void TablesIn64BitMode(string code, ulong at, int vector)
    {
        var c = _board.Enter(CodeMode.Long, code);
        _board.Write(Data, 0xfff, 2);
        _board.Write(Data + 2, at, 8);
        _board.Expect(vector);
        if (vector < 0) Assert.Equal(at, code == "0f01142500100300" ? c->GdtBase : c->IdtBase);
    }

    /// <summary>SDM 2, LAR and LSL: the types of system segments that long mode knows.</summary>
    [Theory]
    [InlineData("0f02c8", 0x89, true)]
    [InlineData("0f02c8", 0x8b, true)]
    [InlineData("0f02c8", 0x82, true)]
    [InlineData("0f02c8", 0x8c, true)]
    [InlineData("0f02c8", 0x81, false)]
    [InlineData("0f02c8", 0x84, false)]
    [InlineData("0f02c8", 0x85, false)]
    [InlineData("0f02c8", 0x8e, false)]
    [InlineData("0f03c8", 0x89, true)]
    [InlineData("0f03c8", 0x82, true)]
    [InlineData("0f03c8", 0x83, false)]
    [InlineData("0f03c8", 0x8c, false)]
    public void InspectionInLongMode(string code, int access, bool valid)
    {
        var c = _board.Enter(CodeMode.Long, code);
        _board.SetDescriptor(Own, Descriptor((uint)access, 0x67), 0);
        c->R[0] = Own;
        _board.Expect(-1);
        Assert.Equal(valid, Flags.GetZf(c));
    }

    /// <summary>CR8 has four bits (SDM 3, 11.8.6); RDPMC has no counters at any level.</summary>
    [Theory]
    [InlineData("440f22c0", 15ul, -1)]
    [InlineData("440f22c0", 16ul, Gp)]
    [InlineData("440f22c0", 1ul << 32, Gp)]
    [InlineData("0f33", 0ul, Gp)]
    public void PriorityAndCounters(string code, ulong value, int vector)
    {
        var c = _board.Enter(CodeMode.Long, code);
        c->R[0] = value;
        c->R[1] = 0x1000;
        c->Cr4 |= 0x100;
        _board.Expect(vector);
    }

    /// <summary>Real mode: a table without the vector raises #GP, without that #DF, and without that the CPU stops (SDM 3, 20.1.4).</summary>
    [Theory]
    [InlineData(0x37u, Gp)]
    [InlineData(0x23u, Df)]
    [InlineData(0x1fu, -2)]
    public void RealModeVectors(uint limit, int vector)
    {
        var c = _board.Enter(CodeMode.Real, "cdf5");
        c->IdtLimit = limit;
        Assert.Equal(vector, _board.Run().Vector);
    }

    /// <summary>SDM 2, PUSH: with SP 1 there is no room in real mode, also not for the handler. SP 0 wraps.</summary>
    [Theory]
    [InlineData("50", 1u, -2)]
    [InlineData("50", 0u, -1)]
    [InlineData("6650", 2u, SsFault)]
    [InlineData("cd10", 1u, -2)]
    public void RealModeStack(string code, uint sp, int vector)
    {
        var c = _board.Enter(CodeMode.Real, code);
        c->R[4] = 0xabcd_0000 | sp;
        Assert.Equal(vector, _board.Run().Vector);
        if (vector == -2) Assert.Equal(SsFault, _board.Cpu.FirstException);
        else if (vector == -1) Assert.Equal(0xabcd_fffeu, c->R[4]);
    }

    /// <summary>16-bit stacks in protected mode: SP counts, the upper half of ESP stays (SDM 1, 6.2.3).</summary>
    [Theory]
    [InlineData("50", 0xfffeu)]
    [InlineData("6650", 0xfffcu)]
    [InlineData("58", 2u)]
    [InlineData("60", 0xfff0u)]
    [InlineData("e80000", 0xfffeu)]
    [InlineData("9c", 0xfffeu)]
    [InlineData("9a070038005858f4", 0u)] // call far to itself, two pops
    public void SmallStacks(string code, uint sp)
    {
        var c = _board.Enter(CodeMode.Prot16, code);
        _board.SetDescriptor(Code16, Descriptor(0x809b, 0xfffff, Code));
        if (code.Length > 8) _board.Poke(Code, "9a050038005858f4");
        c->R[4] = 0xabcd_0000;
        _board.Expect(-1);
        Assert.Equal(0xabcd_0000 | sp, c->R[4]);
    }
}
