using System;
using XenDM.Core.Hypervisor;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>libxenforeignmemory as backends use it. It is opened when the first page is asked for: most guests have no device that needs it.</summary>
public sealed class XenForeignPages : IForeignPages, IDisposable
{
    private const int MaxPages = 1 << 16;

    private XenForeignMemory? _memory;

    public IGrantMapping? TryMap(int domain, ReadOnlySpan<ulong> frames, bool writable)
    {
        if (domain is < 0 or >= XenConstants.FirstReservedDomain || frames.Length is 0 or > MaxPages || Memory() is not { } memory) return null;
        var errors = new int[frames.Length];
        if (memory.Map((ushort)domain, writable, frames, errors, out var address) < 0) return null;
        var pages = frames.Length;
        if (errors.AsSpan().ContainsAnyExcept(0))
        {
            memory.Unmap(address, pages);
            return null;
        }

        return new HostPages(address, pages, writable, at => memory.Unmap(at, pages));
    }

    public void Dispose() => _memory?.Dispose();

    private XenForeignMemory? Memory()
    {
        try
        {
            return _memory ??= new XenForeignMemory();
        }
        catch (XenException)
        {
            return null;
        }
    }
}
