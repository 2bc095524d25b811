using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Xen;

/// <summary><c>struct xen_hvm_param</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct HvmParam
{
    [FieldOffset(0)] public ushort Domain;
    [FieldOffset(4)] public uint Index;
    [FieldOffset(8)] public ulong Value;
}

/// <summary><c>struct xen_memory_reservation</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct MemoryReservation
{
    [FieldOffset(0)] public nint Frames;
    [FieldOffset(8)] public ulong Count;
    [FieldOffset(16)] public uint Order;
    [FieldOffset(20)] public uint Flags;
    [FieldOffset(24)] public ushort Domain;
}

/// <summary>
/// libxencall: the two hypercalls that have no library of their own and would otherwise need libxenctrl, whose soname changes with every release.
/// After <see cref="XenToolCore.RestrictAll"/> such calls fail: Xen has no per-guest restriction for them.
/// </summary>
public sealed unsafe partial class XenCall : XenHandle
{
    private const string Library = "libxencall.so.1";
    private const uint HypercallMemory = 12;
    private const uint HypercallHvm = 34;
    private const ulong HvmSetParam = 0;
    private const ulong HvmGetParam = 1;
    private const ulong MemoryPopulatePhysmap = 6;

    /// <exception cref="XenException">The library is not installed, or this process may not open /dev/xen/privcmd.</exception>
    public XenCall() => OpenPrivileged(Library, static () => xencall_open(0, 0));

    /// <param name="index">HVM_PARAM_*.</param>
    /// <returns>0 or the negative errno.</returns>
    public int SetHvmParam(ushort domain, uint index, ulong value)
    {
        ulong ignored = 0;
        return HvmParamCall(HvmSetParam, domain, index, value, ref ignored);
    }

    /// <inheritdoc cref="SetHvmParam"/>
    public int GetHvmParam(ushort domain, uint index, out ulong value)
    {
        value = 0;
        return HvmParamCall(HvmGetParam, domain, index, 0, ref value);
    }

    /// <summary>Gives the guest zeroed RAM at the given frames (video memory).</summary>
    /// <returns>Frames that were populated, which can be fewer than asked for, or the negative errno.</returns>
    public int PopulatePhysmap(ushort domain, ReadOnlySpan<ulong> frames)
    {
        if (frames.IsEmpty) return 0;
        var listBytes = (nuint)frames.Length * sizeof(ulong);
        var buffer = (byte*)xencall_alloc_buffer(Pointer, (nuint)sizeof(MemoryReservation) + listBytes);
        if (buffer == null) return Result(-1);
        try
        {
            var list = (ulong*)(buffer + sizeof(MemoryReservation));
            frames.CopyTo(new Span<ulong>(list, frames.Length));
            *(MemoryReservation*)buffer = new MemoryReservation { Frames = (nint)list, Count = (ulong)frames.Length, Domain = domain };
            return Result(xencall2(Pointer, HypercallMemory, MemoryPopulatePhysmap, (ulong)buffer));
        }
        finally
        {
            xencall_free_buffer(Pointer, buffer);
        }
    }

    protected override bool ReleaseHandle() => xencall_close(handle) == 0;

    private int HvmParamCall(ulong operation, ushort domain, uint index, ulong value, ref ulong result)
    {
        var param = (HvmParam*)xencall_alloc_buffer(Pointer, (nuint)sizeof(HvmParam));
        if (param == null) return Result(-1);
        try
        {
            *param = new HvmParam { Domain = domain, Index = index, Value = value };
            var status = Result(xencall2(Pointer, HypercallHvm, operation, (ulong)param));
            if (status >= 0) result = param->Value;
            return status;
        }
        finally
        {
            xencall_free_buffer(Pointer, param);
        }
    }

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xencall_open(nint logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xencall_close(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xencall2(nint handle, uint operation, ulong a, ulong b);

    [LibraryImport(Library, SetLastError = true)]
    private static partial void* xencall_alloc_buffer(nint handle, nuint size);

    [LibraryImport(Library)]
    private static partial void xencall_free_buffer(nint handle, void* buffer);
}
