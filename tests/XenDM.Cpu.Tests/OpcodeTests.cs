using System;
using System.Linq;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Which bytes are instructions: by mode, by model, with LOCK, and by length (SDM 2, chapters 2, 3 and appendix A).</summary>
public sealed unsafe class OpcodeTests
{
    private const int Ud = 6, Gp = 13;
    private const string InData = "00100300";

    private static int Run(CodeMode mode, string code, CpuModel model = CpuModel.V3, int cpl = 0)
    {
        using var board = new SystemBoard(model);
        var c = board.Enter(mode, code, cpl);
        if (mode < CodeMode.Compat) c->Cr4 = board.Cpu.Features.Cr4Mask & 0x4_0600;
        c->Xcr0 = board.Cpu.Features.Xcr0Mask;
        c->R[0] = c->R[6] = c->R[7] = Data;
        c->R[1] = 0;
        var trap = board.Run();
        if (trap.Vector >= 0) Assert.Equal(board.Start, trap.Ip);
        return trap.Vector;
    }

    /// <summary>CPUID of the model decides; <paramref name="first"/> is the first that has the instruction, in 32-bit code.</summary>
    [Theory]
    [InlineData("0fc8", CpuModel.I486)] // bswap
    [InlineData("0fb10d" + InData, CpuModel.I486)]
    [InlineData("0fc70d" + InData, CpuModel.I486)] // cmpxchg8b
    [InlineData("0f31", CpuModel.I486)]
    [InlineData("0f44c1", CpuModel.I686)] // cmove
    [InlineData("dac1", CpuModel.I686)] // fcmovb
    [InlineData("0f1f00", CpuModel.I686)] // nop
    [InlineData("0fefc0", CpuModel.I686)] // pxor mm
    [InlineData("0fae05" + InData, CpuModel.I686)] // fxsave
    [InlineData("0f57c0", CpuModel.I686)] // xorps
    [InlineData("660fefc0", CpuModel.I686)] // pxor xmm
    [InlineData("0faef0", CpuModel.I686)] // mfence
    [InlineData("0f1805" + InData, CpuModel.I686)] // prefetchnta
    [InlineData("0fae3d" + InData, CpuModel.I686)] // clflush
    [InlineData("0f01f9", CpuModel.V1)] // rdtscp
    [InlineData("f20fd0c1", CpuModel.V2)] // addsubps
    [InlineData("0f3800c1", CpuModel.V2)] // pshufb mm
    [InlineData("660f3a0ac100", CpuModel.V2)] // roundss
    [InlineData("f20f38f0c1", CpuModel.V2)] // crc32
    [InlineData("f30fb8c1", CpuModel.V2)] // popcnt
    [InlineData("0f38f000", CpuModel.V3)] // movbe
    [InlineData("0fc7f0", CpuModel.V3)] // rdrand
    [InlineData("0fc7f8", CpuModel.V3)] // rdseed
    [InlineData("660f38f6c1", CpuModel.V3)] // adcx
    [InlineData("0f01ca", CpuModel.V3)] // clac
    [InlineData("0f01d0", CpuModel.V3)] // xgetbv
    [InlineData("c5fc57c0", CpuModel.V3)] // vxorps
    [InlineData("c4e278f2c0", CpuModel.V3)] // andn
    [InlineData("0f01c8", null)] // monitor
    [InlineData("660fae3d" + InData, null)] // clflushopt
    [InlineData("f30fc7f8", null)] // rdpid
    [InlineData("0f01c5", null)] // encls' neighbour
    public void Models(string code, CpuModel? first)
    {
        foreach (var model in Enum.GetValues<CpuModel>())
        {
            if (code.StartsWith('c') && model == CpuModel.V3 && !new CpuFeatures(model, 1).HasAvx) continue;
            Assert.Equal((model, first != null && model >= first ? -1 : Ud), (model, Run(CodeMode.Prot32, code, model)));
        }
    }

    /// <summary>The same in 64-bit code.</summary>
    [Theory]
    [InlineData("480fc70c25" + InData, CpuModel.V2)] // cmpxchg16b
    [InlineData("9f", CpuModel.V1)] // lahf
    [InlineData("f3480faec0", CpuModel.V3)] // rdfsbase
    [InlineData("660f388204 25" + InData, CpuModel.V3)] // invpcid
    public void Models64(string code, CpuModel first)
    {
        for (var model = CpuModel.V1; model <= CpuModel.V3; model++)
        {
            using var board = new SystemBoard(model);
            var c = board.Enter(CodeMode.Long, code);
            c->Cr4 |= board.Cpu.Features.Cr4Mask & 0x10000;
            c->R[0] = 2;
            board.Expect(model >= first ? -1 : Ud);
        }
    }

    /// <summary>SYSENTER without SEP; with it, a null selector raises #GP.</summary>
    [Theory]
    [InlineData(CpuModel.I486, Ud)]
    [InlineData(CpuModel.I686, Gp)]
    public void Sysenter(CpuModel model, int vector)
    {
        Assert.Equal(vector, Run(CodeMode.Prot32, "0f34", model));
        Assert.Equal(vector, Run(CodeMode.Prot32, "0f35", model));
    }

    /// <summary>SDM 2, TZCNT and LZCNT: without them BSF and BSR, which leave the destination for 0.</summary>
    [Theory]
    [InlineData("f30fbcc1", 0u, CpuModel.V3, 32u)]
    [InlineData("f30fbcc1", 8u, CpuModel.V3, 3u)]
    [InlineData("f30fbcc1", 0u, CpuModel.V2, 0x55u)]
    [InlineData("f30fbcc1", 8u, CpuModel.I486, 3u)]
    [InlineData("f30fbdc1", 1u, CpuModel.V3, 31u)]
    [InlineData("f30fbdc1", 1u, CpuModel.V2, 0u)]
    [InlineData("f30fbdc1", 0x100u, CpuModel.I686, 8u)]
    public void BitCounts(string code, uint value, CpuModel model, uint result)
    {
        if (model == CpuModel.V3 && !new CpuFeatures(model, 1).HasAvx) return;
        using var board = new SystemBoard(model);
        var c = board.Enter(CodeMode.Prot32, code);
        (c->R[0], c->R[1]) = (0x55, value);
        board.Expect(-1);
        Assert.Equal(result, c->R[0]);
    }

    /// <summary>Bytes that later instruction sets use and older CPUs take as NOP (SDM 2, table A-3): nothing happens.</summary>
    [Theory]
    [InlineData("f30f1ec8")] // rdsspd eax
    [InlineData("f30f1efa")] // endbr64
    [InlineData("f30f1efb")]
    [InlineData("0f1ac0")] // bndldx
    [InlineData("0f1bc0")]
    [InlineData("660f1ac0")]
    [InlineData("f30f1bc0")]
    [InlineData("0f19c0")]
    [InlineData("0f1cc0")]
    [InlineData("0f1c00")] // cldemote
    [InlineData("0f1dc0")]
    [InlineData("0f1ec0")]
    [InlineData("0f18f8")]
    [InlineData("0f0d00")] // prefetch
    [InlineData("0f0d08")] // prefetchw
    public void Hints(string code)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Long }) Assert.Equal(-1, Run(mode, code));
    }

    /// <summary>SDM 2, appendix A: not in 64-bit mode.</summary>
    [Theory]
    [InlineData("06", "07", "0e", "16", "17", "1e", "1f", "27", "2f", "37", "3f", "60", "61", "8200c0", "9a000000000800", "ce", "d40a", "d50a", "d6", "ea000000000800", "62c0c0c0c0c0", "6200")]
    public void NotIn64BitMode(params string[] codes)
    {
        foreach (var code in codes) Assert.Equal((code, Ud), (code, Run(CodeMode.Long, code + "9090")));
    }

    /// <summary>Undefined in every mode, or without the registers or memory that they name.</summary>
    [Theory]
    [InlineData("0f0b", "0fffc0", "0fb9c0", "0f24c0", "0f26c0", "0f04", "0f0c", "0fc7c8", "8dc0", "0f01c0", "0f01c2", "fff8", "ffd8", "ffe8", "fed0", "c6c800", "c7c80000", "0f00f0", "0f00f8", "0fbac000", "0fbac800", "0f01e8", "8ec8", "8cf0", "0f39", "0f3f", "0faa", "0f37", "0f78c0", "0f0fc00d", "0f01d8", "0f01df", "0fc730", "0fa6c0", "0f0e")]
    public void Undefined(params string[] codes)
    {
        foreach (var code in codes)
            foreach (var mode in Enum.GetValues<CodeMode>().Where(m => m != CodeMode.Real || !code.StartsWith("0f00", StringComparison.Ordinal)))
                Assert.Equal((code, mode, Ud), (code, mode, Run(mode, code + "9090")));
    }

    /// <summary>SDM 2, LOCK: only with these, and only with memory as destination.</summary>
    [Theory]
    [InlineData("90", Ud)]
    [InlineData("8b042500100300", Ud)]
    [InlineData("89042500100300", Ud)]
    [InlineData("01c8", Ud)]
    [InlineData("03042500100300", Ud)]
    [InlineData("01042500100300", -1)]
    [InlineData("11042500100300", -1)]
    [InlineData("39042500100300", Ud)] // cmp
    [InlineData("83342500100300 01", -1)] // xor
    [InlineData("833c2500100300 01", Ud)]
    [InlineData("85042500100300", Ud)]
    [InlineData("0fa3042500100300", Ud)] // bt
    [InlineData("0fbb0c2500100300", -1)] // btc
    [InlineData("0fba2c250010030001", -1)]
    [InlineData("0fba24250010030001", Ud)]
    [InlineData("f71c2500100300", -1)] // neg
    [InlineData("f7142500100300", -1)]
    [InlineData("f7242500100300", Ud)] // mul
    [InlineData("ff042500100300", -1)]
    [InlineData("fe0c2500100300", -1)]
    [InlineData("ff342500100300", Ud)] // push
    [InlineData("0fc1042500100300", -1)] // xadd
    [InlineData("0fc1c1", Ud)]
    [InlineData("0fb1042500100300", -1)]
    [InlineData("0fc70c2500100300", -1)]
    [InlineData("87042500100300", -1)] // xchg
    [InlineData("87c1", Ud)]
    [InlineData("d1242500100300", Ud)] // shl
    [InlineData("a4", Ud)]
    [InlineData("f3a4", Ud)]
    [InlineData("cd80", Ud)]
    [InlineData("0f0109", Ud)] // sidt
    [InlineData("c7042500100300 00000000", Ud)]
    public void Lock(string code, int vector)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Long, CodeMode.Compat }) Assert.Equal(vector, Run(mode, "f0" + code));
    }

    /// <summary>SDM 2, 2.3.11: at most 15 bytes; more raise #GP(0).</summary>
    [Theory]
    [InlineData(14, "90", -1)]
    [InlineData(15, "90", Gp)]
    [InlineData(13, "89c0", -1)]
    [InlineData(14, "89c0", Gp)]
    [InlineData(20, "f4", Gp)]
    public void Length(int prefixes, string code, int vector)
    {
        foreach (var mode in Enum.GetValues<CodeMode>())
            foreach (var prefix in new[] { "66", "3e", "f2" })
                Assert.Equal((mode, prefix, vector), (mode, prefix, Run(mode, string.Concat(Enumerable.Repeat(prefix, prefixes)) + code)));
    }
}
