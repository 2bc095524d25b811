using System;
using System.Runtime.InteropServices;

namespace XenDM.Cpu.Decode;

/// <summary>Native memory for decoded code: handed out from front to back, given back all at once.</summary>
internal sealed unsafe class Arena : IDisposable
{
    private byte* _memory;
    private nuint _used;
    private readonly nuint _length;

    public Arena(nuint length)
    {
        _length = length;
        // Untouched pages cost nothing.
        _memory = (byte*)NativeMemory.AlignedAlloc(length, 64);
    }

    /// <summary>Null when the arena is full.</summary>
    public T* Allocate<T>(int count) where T : unmanaged
    {
        var bytes = ((nuint)sizeof(T) * (nuint)count + 15) & ~(nuint)15;
        if (bytes > _length - _used) return null;
        var at = _memory + _used;
        _used += bytes;
        return (T*)at;
    }

    public nuint Free => _length - _used;

    public void Clear() => _used = 0;

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
