using System;
using System.Buffers.Binary;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded;
using XenDM.Hypervisor.Embedded.Xen;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>A machine with Xen in it, whose loader is a few bytes of code: it writes the hypercall page, and then makes the calls that a test asks for.</summary>
internal sealed unsafe class XenBoard : IDisposable
{
    public const uint Memory = 16 << 20;
    public const uint HypercallPage = 0x8_0000;

    /// <summary>Where tests put structures.</summary>
    public const uint Data = 0x20_0000;
    public const int Self = 0x7ff0;
    private const uint Code = 0x10_0000;

    public XenBoard(int cpus = 1)
    {
        Machine = new EmbeddedMachine(new EmbeddedOptions(Memory, cpus, CpuModel.V3, [], true, 0, 0) { Xen = new XenGuestOptions(MakeLoader(), [1, 2, 3], new Guid("00112233-4455-6677-8899-aabbccddeeff")) }, SilentLog.Instance);
        Machine.Build(new VmClock(Machine.TimeSource));
        Machine.Reset();
    }

    public EmbeddedMachine Machine { get; }

    public X86Cpu Cpu => Machine.Cpus[0];

    public void Dispose() => Machine.Dispose();

    /// <summary>A 32-bit ELF file with one segment of code at 1 MiB.</summary>
    public static byte[] MakeLoader()
    {
        // mov ecx, 0x40000000; mov eax, page; xor edx, edx; wrmsr; hlt; then: call the stub in eax; hlt
        byte[] code = [0xb9, 0, 0, 0, 0x40, 0xb8, 0, 0, 8, 0, 0x31, 0xd2, 0x0f, 0x30, 0xf4, 0xbc, 0, 0, 9, 0, 0xff, 0xd5, 0xf4];
        var elf = new byte[0x54 + code.Length];
        var s = elf.AsSpan();
        "\u007fELF"u8.CopyTo(s);
        (s[4], s[5], s[6]) = (1, 1, 1);
        BinaryPrimitives.WriteUInt16LittleEndian(s[16..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(s[18..], 3);
        BinaryPrimitives.WriteUInt32LittleEndian(s[24..], Code);
        BinaryPrimitives.WriteUInt32LittleEndian(s[28..], 0x34);
        BinaryPrimitives.WriteUInt16LittleEndian(s[42..], 32);
        BinaryPrimitives.WriteUInt16LittleEndian(s[44..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(s[0x34..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(s[0x38..], 0x54);
        BinaryPrimitives.WriteUInt32LittleEndian(s[0x40..], Code);
        BinaryPrimitives.WriteUInt32LittleEndian(s[0x44..], (uint)code.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(s[0x48..], (uint)code.Length + 0x100);
        code.CopyTo(s[0x54..]);
        return elf;
    }

    /// <summary>Runs the loader to where it has the hypercall page.</summary>
    public XenBoard Start()
    {
        Assert.Equal(RunResult.Halted, Cpu.Run(100));
        return this;
    }

    /// <summary>Makes a hypercall through the page, as 32-bit code does.</summary>
    public int Call(int number, ulong a1 = 0, ulong a2 = 0, ulong a3 = 0)
    {
        var c = Cpu.State;
        c->R[5] = HypercallPage + (uint)(number * 32);
        (c->R[3], c->R[1], c->R[2]) = ((uint)a1, (uint)a2, (uint)a3);
        c->Rip = Code + 15;
        Cpu.Wake();
        // A call that changes the machine ends a slice.
        for (var slices = 0; Cpu.Run(100) != RunResult.Halted; slices++) Assert.True(slices < 10, Cpu.Describe());
        return (int)c->R[0];
    }

    public void Write(ulong address, params ReadOnlySpan<uint> words)
    {
        Span<byte> bytes = stackalloc byte[4];
        foreach (var word in words)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, word);
            Assert.True(Machine.Memory.TryWrite(address, bytes));
            address += 4;
        }
    }

    public uint Read(ulong address)
    {
        Span<byte> bytes = stackalloc byte[4];
        Machine.Memory.TryRead(address, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    public byte[] Bytes(ulong address, int count)
    {
        var bytes = new byte[count];
        Machine.Memory.TryRead(address, bytes);
        return bytes;
    }
}
