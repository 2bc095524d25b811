using System;
using System.Runtime.InteropServices;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>A guest that runs wild ends in a reset or goes on, never in an exception or a hang of ours: random bytes as code, in every mode.</summary>
public unsafe class FuzzTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void RandomCode_NeverThrows(int seed)
    {
        var rounds = int.TryParse(Environment.GetEnvironmentVariable("XENDM_CPU_ROUNDS"), out var n) ? n : 400;
        var random = new Random(seed);
        using var machine = new TestMachine();
        for (var round = 0; round < rounds; round++)
        {
            Prepare(machine, random, round % 5);
            for (var slice = 0; slice < 4; slice++)
            {
                if (random.Next(4) == 0) machine.Cpu.RaiseNmi();
                if (random.Next(4) == 0)
                {
                    machine.Interrupt = random.Next(256);
                    machine.Cpu.SetInterrupt(true);
                }

                var before = machine.Cpu.Instructions;
                var result = machine.Cpu.Run(2000);
                Assert.InRange((long)(machine.Cpu.Instructions - before), 0, 100_000);
                if (result == RunResult.Shutdown) break;
                if (result == RunResult.Halted) machine.Cpu.Wake();
            }
        }
    }

    private static void Prepare(TestMachine machine, Random random, int mode)
    {
        // Random memory in pieces; the rest is left from the round before.
        for (var n = 0; n < 64; n++) random.NextBytes(machine.At((ulong)random.Next(TestMachine.RamBytes - 4096), random.Next(1, 4096)));
        machine.Cpu.CodeWritten(0, TestMachine.RamBytes);
        machine.Cpu.Reset();
        var c = machine.C;
        for (var r = 0; r < 16; r++) c->R[r] = random.Next(2) == 0 ? (ulong)random.Next(TestMachine.RamBytes) : (ulong)random.NextInt64();
        switch (mode)
        {
            case 0:
                c->Seg[Segment.Cs].Base = 0;
                c->Seg[Segment.Cs].Selector = 0;
                c->Rip = (ulong)random.Next(0x10000);
                break;
            case 1 or 2:
                // Flat protected mode, 32 or 16 bit, with a table at 0x800.
                MemoryMarshal.Write(machine.At(0x808, 8), mode == 1 ? 0x00cf9b000000fffful : 0x000f9b000000fffful);
                MemoryMarshal.Write(machine.At(0x810, 8), 0x00cf93000000fffful);
                c->GdtBase = 0x800;
                c->GdtLimit = 0x7f;
                c->IdtBase = 0x1000;
                c->IdtLimit = 0x7ff;
                c->Cr0 = 0x31;
                for (var s = 0; s < 6; s++)
                    c->Seg[s] = new Segment { Selector = s == Segment.Cs ? (ushort)8 : (ushort)16, Limit = uint.MaxValue, Access = s == Segment.Cs ? (mode == 1 ? (ushort)0xc09b : (ushort)0x809b) : (ushort)0xc093 };
                c->Cpl = random.Next(3) == 0 ? 3 : 0;
                c->Rip = (ulong)random.Next(TestMachine.RamBytes);
                break;
            case 3:
                // Virtual-8086 mode.
                c->Cr0 = 0x31;
                c->Cr4 = random.Next(2) == 0 ? 1ul : 0;
                c->IdtBase = 0x1000;
                c->IdtLimit = 0x7ff;
                c->Eflags = 0x20202 | (uint)(random.Next(4) << 12);
                for (var s = 0; s < 6; s++) c->Seg[s] = new Segment { Selector = (ushort)(s * 0x100), Base = (ulong)s << 12, Limit = 0xffff, Access = 0xf3 };
                c->Cpl = 3;
                c->Rip = (ulong)random.Next(0x10000);
                break;
            default:
                machine.EnterLongMode((ulong)random.Next(TestMachine.RamBytes));
                c->IdtBase = 0x4000;
                c->IdtLimit = 0xfff;
                c->GdtBase = 0x800;
                c->GdtLimit = 0x7f;
                if (random.Next(2) == 0) c->Cpl = 3;
                if (random.Next(4) == 0) c->Cr4 |= 0x30_0000;
                if (random.Next(4) == 0) c->Eflags |= 0x100;
                if (random.Next(4) == 0) c->Dr[7] = (ulong)random.Next(0x10000) << 16 | 0x4ff;
                break;
        }

        machine.Cpu.Refresh();
    }
}
