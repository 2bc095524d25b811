using System;

namespace XenDM.Cpu.Tests;

public unsafe class ReportTests
{
    [Fact]
    public void Report_ShowsRegistersAndTheNextInstructions()
    {
        using var machine = new TestMachine();
        machine.EnterLongMode(0x10000);
        ReadOnlySpan<byte> code = [0x48, 0x89, 0xd8, 0x0f, 0x05];
        code.CopyTo(machine.At(0x10000, 5));
        machine.C->R[0] = 0x1234;
        var report = CpuReport.Make(machine.Cpu);
        Assert.Contains("RAX=0000000000001234", report, StringComparison.Ordinal);
        Assert.Contains("10000: mov rax,rbx", report, StringComparison.Ordinal);
        Assert.Contains("64-bit code", report, StringComparison.Ordinal);
    }
}
