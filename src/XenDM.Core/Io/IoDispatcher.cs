using System;
using System.Buffers.Binary;
using XenDM.Core.Memory;

namespace XenDM.Core.Io;

/// <summary>
/// Hop 2 in the life of an ioreq: chooses the space, runs the repetitions, and uses the bulk path of a region where it has one.
/// No allocation and no lock on this path.
/// </summary>
public sealed class IoDispatcher
{
    private const int BulkBytes = 4096;
    private readonly AddressSpace _ports;
    private readonly AddressSpace _memory;
    private readonly IIoRegion _pciConfig;
    private readonly IGuestMemory _ram;
    private readonly byte[] _bulk = new byte[BulkBytes];

    /// <param name="pciConfig">Answers configuration accesses; the offset is bus/device/function in 31:16 and the register in 15:0.</param>
    public IoDispatcher(AddressSpace ports, AddressSpace memory, IIoRegion pciConfig, IGuestMemory ram)
    {
        _ports = ports;
        _memory = memory;
        _pciConfig = pciConfig;
        _ram = ram;
    }

    /// <summary>Requests served, and items moved by them.</summary>
    public ulong Requests { get; private set; }

    /// <inheritdoc cref="Requests"/>
    public ulong Items { get; private set; }

    /// <summary>A size that the hardware knows: 1, 2, 4 or 8; ports and configuration at most 4.</summary>
    public static bool IsValid(in IoRequest request) =>
        request.Count > 0 && request.Size is 1 or 2 or 4 or 8 && (request.Size <= 4 || request.Space == IoSpace.Memory);

    /// <summary>
    /// Carries a request out. For a read without a buffer, <see cref="IoRequest.Data"/> is the answer afterwards, zero-extended.
    /// A request that is not <see cref="IsValid"/> reads all ones and writes nothing.
    /// </summary>
    public void Dispatch(ref IoRequest request)
    {
        Requests++;
        if (!IsValid(request))
        {
            if (request.IsRead && !request.DataIsPointer) request.Data = ulong.MaxValue;
            return;
        }

        var size = (int)request.Size;
        if (request.DataIsPointer) DispatchBuffer(in request, size);
        else if (request.Count == 1)
        {
            Items++;
            if (request.IsRead) request.Data = Read(request.Space, request.Address, size);
            else Write(request.Space, request.Address, size, request.Data & AddressSpace.Mask(size));
        }
        else DispatchRepeatedValue(ref request, size);
    }

    /// <summary>One access of one item.</summary>
    public ulong Read(IoSpace space, ulong address, int size) => space switch
    {
        IoSpace.Port => _ports.Read(address & 0xffff, size),
        IoSpace.Memory => _memory.Read(address, size),
        _ => _pciConfig.Read(address, size) & AddressSpace.Mask(size),
    };

    /// <inheritdoc cref="Read"/>
    public void Write(IoSpace space, ulong address, int size, ulong value)
    {
        switch (space)
        {
            case IoSpace.Port: _ports.Write(address & 0xffff, size, value); break;
            case IoSpace.Memory: _memory.Write(address, size, value); break;
            default: _pciConfig.Write(address, size, value); break;
        }
    }

    /// <summary>The same value many times (<c>rep stos</c> to MMIO), or many reads of which the last counts. Memory addresses step.</summary>
    private void DispatchRepeatedValue(ref IoRequest request, int size)
    {
        var step = Step(in request, size);
        var address = request.Address;
        var count = Math.Min(request.Count, MaxItems);
        Items += count;
        for (uint i = 0; i < count; i++, address += step)
        {
            if (request.IsRead) request.Data = Read(request.Space, address, size);
            else Write(request.Space, address, size, request.Data & AddressSpace.Mask(size));
        }
    }

    /// <summary>
    /// Xen never passes a request that spans more than a page of buffer; a larger count can only come from a hostile caller and is cut
    /// here, so that no request runs without bound.
    /// </summary>
    private const uint MaxItems = 1 << 16;

    private static ulong Step(in IoRequest request, int size) =>
        request.Space == IoSpace.Memory ? (request.Descending ? 0 - (ulong)size : (ulong)size) : 0;

    private void DispatchBuffer(in IoRequest request, int size)
    {
        var count = Math.Min(request.Count, MaxItems);
        Items += count;
        if (!request.Descending && TryBulk(in request, size, count)) return;
        var addressStep = Step(in request, size);
        var bufferStep = request.Descending ? 0 - (ulong)size : (ulong)size;
        Span<byte> item = stackalloc byte[8];
        ulong address = request.Address, buffer = request.Data;
        for (uint i = 0; i < count; i++, address += addressStep, buffer += bufferStep)
        {
            if (request.IsRead)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(item, Read(request.Space, address, size));
                _ram.TryWrite(buffer, item[..size]);
            }
            else
            {
                item.Clear();
                _ram.TryRead(buffer, item[..size]);
                Write(request.Space, address, size, BinaryPrimitives.ReadUInt64LittleEndian(item));
            }
        }
    }

    private bool TryBulk(in IoRequest request, int size, uint count)
    {
        if (request.Space == IoSpace.PciConfig) return false;
        var space = request.Space == IoSpace.Port ? _ports : _memory;
        if (!space.TryFindBulk(request.Address, !request.IsRead, out var region, out var offset, out var room)) return false;
        var linear = request.Space == IoSpace.Memory;
        var bytes = (ulong)count * (ulong)size;
        if (linear ? room < bytes : room < (ulong)size) return false;
        for (ulong done = 0; done < bytes;)
        {
            var chunk = _bulk.AsSpan(0, (int)Math.Min(BulkBytes, bytes - done));
            if (request.IsRead)
            {
                region.ReadBlock(offset + (linear ? done : 0), size, chunk);
                _ram.TryWrite(request.Data + done, chunk);
            }
            else
            {
                if (!_ram.TryRead(request.Data + done, chunk)) chunk.Fill(0xff);
                region.WriteBlock(offset + (linear ? done : 0), size, chunk);
            }

            done += (ulong)chunk.Length;
        }

        return true;
    }
}
