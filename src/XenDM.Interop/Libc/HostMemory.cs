using System;

namespace XenDM.Interop.Libc;

/// <summary>Copies between managed buffers and mapped memory, whose address the caller vouches for.</summary>
public static unsafe class HostMemory
{
    public static void CopyFrom(nint address, Span<byte> destination) => new ReadOnlySpan<byte>((void*)address, destination.Length).CopyTo(destination);

    public static void CopyTo(ReadOnlySpan<byte> source, nint address) => source.CopyTo(new Span<byte>((void*)address, source.Length));

    /// <summary>Memory that stays mapped for as long as the span is used.</summary>
    public static Span<byte> Span(nint address, int length) => new((void*)address, length);

    /// <summary>32 bits at an aligned address that others write too; later reads are not done before.</summary>
    public static uint ReadAcquire(nint address) => System.Threading.Volatile.Read(ref *(uint*)address);

    /// <summary>32 bits at an aligned address that others read too; earlier writes are not done after.</summary>
    public static void WriteRelease(nint address, uint value) => System.Threading.Volatile.Write(ref *(uint*)address, value);

    public static void Clear(nint address, int length) => new Span<byte>((void*)address, length).Clear();
}
