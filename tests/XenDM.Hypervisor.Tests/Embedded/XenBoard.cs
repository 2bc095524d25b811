using System;
using System.Buffers.Binary;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Cpu.State;
using XenDM.Hypervisor.Embedded;
using XenDM.Hypervisor.Embedded.Xen;
using XenDM.Hypervisor.Embedded.Xen.Viridian;

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

    private readonly VmClock _clock;

    public XenBoard(int cpus = 1, ViridianFeatures viridian = ViridianFeatures.None)
    {
        Machine = new EmbeddedMachine(new EmbeddedOptions(Memory, cpus, CpuModel.V3, [], true, 0, 0) { Xen = new XenGuestOptions(MakeLoader(), [1, 2, 3], new Guid("00112233-4455-6677-8899-aabbccddeeff")) { Viridian = viridian } }, SilentLog.Instance);
        _clock = new VmClock(Machine.TimeSource);
        Machine.Build(_clock);
        Machine.Reset();
    }

    public EmbeddedMachine Machine { get; }

    public long Now => _clock.Now;

    /// <summary>Lets the timers run that are due within a millisecond.</summary>
    public void RunTimers()
    {
        _clock.Set(_clock.Now + 1_000_000);
        _clock.Start();
        _clock.RunTimers();
        _clock.Stop();
    }

    /// <summary>The vCPU waits in a hypercall.</summary>
    public bool Waits(int cpu) => Machine.Xen!.IsWaiting(cpu);

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
        for (var slices = 0; Cpu.Run(100) is var result && result != RunResult.Halted; slices++) Assert.True(slices < 10, $"{result} at {Cpu.Describe()}, first exception {Cpu.FirstException}");
        return (int)c->R[0];
    }

    /// <summary>Makes a hypercall as 64-bit code does, through an identity map of the first 4 GiB.</summary>
    public long Call64(uint number, ulong a1 = 0, ulong a2 = 0, ulong a3 = 0, int cpu = 0)
    {
        const uint Tables = 0xa_0000 - 0x4000, Stub = Tables + 0x2000;
        for (uint n = 0; n < 4; n++) Write(Tables + 0x1000 + (n * 8), (n << 30) | 0x83, 0);
        Write(Tables, (Tables + 0x1000) | 3, 0);
        // vmcall; hlt
        Write(Stub, 0xf4c1_010f);
        var vcpu = Machine.Cpus[cpu];
        var c = vcpu.State;
        var (cr0, cr3, cr4, efer, rip, access, stack) = (c->Cr0, c->Cr3, c->Cr4, c->Efer, c->Rip, c->Seg[Segment.Cs].Access, c->R[4]);
        (c->Cr0, c->Cr3, c->Cr4, c->Efer) = (0x8000_0011, Tables, 0x20, 0x500);
        c->Seg[Segment.Cs].Access = 0xa09b;
        (c->R[0], c->R[7], c->R[6], c->R[2], c->Rip) = (number, a1, a2, a3, Stub);
        vcpu.Refresh();
        vcpu.Wake();
        for (var slices = 0; vcpu.Run(100) != RunResult.Halted; slices++) Assert.True(slices < 10, vcpu.Describe());
        var result = (long)c->R[0];
        (c->Cr0, c->Cr3, c->Cr4, c->Efer, c->Rip, c->R[4]) = (cr0, cr3, cr4, efer, rip, stack);
        c->Seg[Segment.Cs].Access = access;
        vcpu.Refresh();
        return result;
    }

    public void Write64(ulong address, params ReadOnlySpan<ulong> words)
    {
        foreach (var word in words)
        {
            Write(address, (uint)word, (uint)(word >> 32));
            address += 8;
        }
    }

    public ulong Read64(ulong address) => Read(address) | ((ulong)Read(address + 4) << 32);

    /// <summary>Shows the shared page at a frame.</summary>
    public void ShowShared(uint frame)
    {
        Write(Data, Self, 0, 0, frame);
        Assert.Equal(0, Call(12, 7, Data));
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
