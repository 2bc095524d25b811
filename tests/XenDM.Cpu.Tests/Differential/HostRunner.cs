using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Cpu.Tests.Differential;

/// <summary>All registers that a user program has.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MachineState
{
    public fixed ulong R[16];
    public ulong Flags;
    public uint Mxcsr;
    private uint _pad;
    public fixed byte Fx[512 + 16];
    public fixed byte Ymm[512];
}

/// <summary>Runs one instruction natively: loads all registers, runs it, stores them.</summary>
internal sealed unsafe class HostRunner : IDisposable
{
    private const int DataOffset = 4096;
    private readonly nint _memory;
    private byte* _at;

    public HostRunner()
    {
        if (Posix.Map(0, 16384, MemoryProtection.Read | MemoryProtection.Write | MemoryProtection.Execute, MapFlags.Private | MapFlags.Anonymous, -1, 0, out _memory) < 0)
            throw new InvalidOperationException("no executable memory");
    }

    private byte* Data => (byte*)_memory + DataOffset;

    // In the data: registers 0..127, flags 128, host stack 136, mxcsr 144, host mxcsr 148, fx 512.., ymm 1536..
    private const int FlagsAt = 128, StackAt = 136, MxcsrAt = 144, HostMxcsrAt = 148, FxAt = 512, YmmAt = 1536;

    public void Run(ref MachineState state, ReadOnlySpan<byte> instruction, bool units, bool avx)
    {
        fixed (MachineState* s = &state)
        {
            Buffer.MemoryCopy(s->R, Data, 128, 128);
            *(ulong*)(Data + FlagsAt) = s->Flags;
            *(uint*)(Data + MxcsrAt) = s->Mxcsr;
            *(uint*)(Data + HostMxcsrAt) = 0x1f80;
            Buffer.MemoryCopy(s->Fx, Data + FxAt, 512, 512);
            Buffer.MemoryCopy(s->Ymm, Data + YmmAt, 512, 512);
        }

        _at = (byte*)_memory;
        foreach (var r in (ReadOnlySpan<byte>)[3, 5]) Byte((byte)(0x50 + r));
        foreach (var r in (ReadOnlySpan<byte>)[4, 5, 6, 7]) Bytes([0x41, (byte)(0x50 + r)]);
        Rip([0x48, 0x89], 4, StackAt);
        if (units)
        {
            Rip([0x48, 0x0f, 0xae], 1, FxAt);
            Rip([0x0f, 0xae], 2, MxcsrAt);
            for (var r = 0; r < 16; r++) Vector(avx, r, 0x10);
        }

        Rip([0xff], 6, FlagsAt);
        Byte(0x9d);
        for (var r = 0; r < 16; r++)
            if (r != 4) Rip([(byte)(r >= 8 ? 0x4c : 0x48), 0x8b], r & 7, r * 8);
        Bytes(instruction);
        for (var r = 0; r < 16; r++)
            if (r != 4) Rip([(byte)(r >= 8 ? 0x4c : 0x48), 0x89], r & 7, r * 8);
        Byte(0x9c);
        Rip([0x8f], 0, FlagsAt);
        Byte(0xfc);
        if (units)
        {
            Rip([0x0f, 0xae], 3, MxcsrAt);
            for (var r = 0; r < 16; r++) Vector(avx, r, 0x11);
            Rip([0x48, 0x0f, 0xae], 0, FxAt);
            Bytes([0xdb, 0xe3]);
            Rip([0x0f, 0xae], 2, HostMxcsrAt);
            if (avx) Bytes([0xc5, 0xf8, 0x77]);
        }

        foreach (var r in (ReadOnlySpan<byte>)[7, 6, 5, 4]) Bytes([0x41, (byte)(0x58 + r)]);
        foreach (var r in (ReadOnlySpan<byte>)[5, 3]) Byte((byte)(0x58 + r));
        Byte(0xc3);
        ((delegate* unmanaged<void>)_memory)();
        fixed (MachineState* s = &state)
        {
            Buffer.MemoryCopy(Data, s->R, 128, 128);
            s->Flags = *(ulong*)(Data + FlagsAt);
            s->Mxcsr = *(uint*)(Data + MxcsrAt);
            Buffer.MemoryCopy(Data + FxAt, s->Fx, 512, 512);
            Buffer.MemoryCopy(Data + YmmAt, s->Ymm, 512, 512);
        }
    }

    private void Byte(byte value) => *_at++ = value;

    private void Bytes(ReadOnlySpan<byte> values)
    {
        foreach (var b in values) Byte(b);
    }

    /// <summary>opcode with a RIP-relative operand in the data.</summary>
    private void Rip(ReadOnlySpan<byte> opcode, int register, int data)
    {
        Bytes(opcode);
        Byte((byte)(0x05 | (register << 3)));
        *(int*)_at = (int)(Data + data - (_at + 4));
        _at += 4;
    }

    private void Vector(bool avx, int register, byte opcode)
    {
        if (avx) Bytes([0xc4, (byte)((register >= 8 ? 0x00 : 0x80) | 0x61), 0x7c]);
        else if (register >= 8) Bytes([0x44, 0x0f]);
        else Byte(0x0f);
        Rip([opcode], register & 7, YmmAt + (register * 32));
    }

    public void Dispose() => Posix.Unmap(_memory, 16384);
}
