using System;

namespace XenDM.Interop.Libc;

/// <summary>Copies between managed buffers and mapped memory, whose address the caller vouches for.</summary>
public static unsafe class HostMemory
{
    public static void CopyFrom(nint address, Span<byte> destination) => new ReadOnlySpan<byte>((void*)address, destination.Length).CopyTo(destination);

    public static void CopyTo(ReadOnlySpan<byte> source, nint address) => source.CopyTo(new Span<byte>((void*)address, source.Length));

    public static void Clear(nint address, int length) => new Span<byte>((void*)address, length).Clear();
}
