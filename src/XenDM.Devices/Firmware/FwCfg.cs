using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.State;

namespace XenDM.Devices.Firmware;

/// <summary>Reads a part of a big item, such as an initial ramdisk that stays in its file.</summary>
/// <param name="offset">First byte; offset and length lie inside the item.</param>
/// <returns>False when the bytes could not be read.</returns>
public delegate bool FwCfgReader(long offset, Span<byte> destination);

/// <summary>
/// The firmware configuration device: items that firmware reads by key. Ports 0x510 (selector, 16 bits), 0x511 (data, 8 bits), 0x514 to
/// 0x51b (address of a DMA descriptor, big-endian, written high half first). No interrupt; DMA is not gated. Specification: QEMU,
/// docs/specs/fw_cfg.rst.
/// Deviations: items are read-only, also by DMA. A DMA read that goes more than 1 MiB past the end of its item is refused, so that one port
/// write cannot keep the machine busy for the whole of memory.
/// </summary>
public sealed class FwCfg : IDevice
{
    public const ushort KeySignature = 0x00;
    public const ushort KeyId = 0x01;
    public const ushort KeyKernelAddress = 0x07;
    public const ushort KeyKernelSize = 0x08;
    public const ushort KeyInitrdAddress = 0x0a;
    public const ushort KeyInitrdSize = 0x0b;
    public const ushort KeyKernelEntry = 0x10;
    public const ushort KeyKernelData = 0x11;
    public const ushort KeyInitrdData = 0x12;
    public const ushort KeyCommandLineAddress = 0x13;
    public const ushort KeyCommandLineSize = 0x14;
    public const ushort KeyCommandLineData = 0x15;
    public const ushort KeySetupAddress = 0x16;
    public const ushort KeySetupSize = 0x17;
    public const ushort KeySetupData = 0x18;
    public const ushort KeyFileDirectory = 0x19;
    public const ushort KeyFirstFile = 0x20;

    /// <summary>Keys of one architecture have this bit.</summary>
    public const ushort KeyArchLocal = 0x8000;

    private const ushort KeyWriteChannel = 0x4000;
    private const ushort KeyMask = KeyArchLocal | 0x3fff;
    private const ushort SelectorPort = 0x510;
    private const ushort DmaPort = 0x514;
    private const uint IdTraditional = 1;
    private const uint IdDma = 2;
    private const ulong DmaSignature = 0x51454d55_20434647;
    private const uint DmaError = 1;
    private const uint DmaRead = 2;
    private const uint DmaSkip = 4;
    private const uint DmaSelect = 8;
    private const uint DmaWrite = 16;
    private const int DescriptorBytes = 16;
    private const int FileNameBytes = 56;
    private const int FileEntryBytes = 64;
    private const int ChunkBytes = 16384;
    private const long MaxPadding = 1 << 20;

    /// <summary>No item is longer: sizes are told in 32 bits, and nothing moves the offset past the end of an item but padding.</summary>
    private const long MaxOffset = 1L << 40;

    private readonly Dma _dma;
    private readonly Dictionary<ushort, Item> _items = [];
    private readonly List<(string Name, Item Item)> _files = [];
    [Glue("scratch of one transfer, which ends within the access that starts it")]
    private readonly byte[] _chunk = new byte[ChunkBytes];
    [Glue("a copy of the item, read again where it is empty")]
    private readonly byte[] _window = new byte[ChunkBytes];
    [Glue("derived from the selector")]
    private Item? _item;
    [Glue("a cache of the item that is read byte by byte")]
    private long _windowStart;
    [Glue("a cache of the item that is read byte by byte")]
    private int _windowLength;
    private ushort _selector;
    private long _offset;
    private uint _dmaHigh;

    private sealed record Item(long Length, byte[]? Data, FwCfgReader? Reader);

    /// <param name="memory">Where DMA descriptors and their buffers are.</param>
    public FwCfg(IGuestMemory memory)
    {
        _dma = new Dma(memory, enabled: true);
        Add(KeySignature, "QEMU"u8.ToArray());
        AddU32(KeyId, IdTraditional | IdDma);
        BuildDirectory();
        Select(0);
    }

    public string Id => "fw_cfg";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("fw_cfg", SelectorPort, 2, new BytePorts(this));
        ports.Map("fw_cfg DMA", DmaPort, 8, new DmaPorts(this));
    }

    /// <summary>Adds or replaces an item that is held in memory. Set-up only, as all of these.</summary>
    public void Add(ushort key, byte[] data) => Put(key, new Item(data.Length, data, null));

    /// <summary>Adds or replaces an item that is read when the guest asks for it.</summary>
    /// <param name="length">Bytes.</param>
    public void Add(ushort key, long length, FwCfgReader reader) => Put(key, new Item(length, null, reader));

    public void AddU16(ushort key, ushort value)
    {
        var data = new byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(data, value);
        Add(key, data);
    }

    public void AddU32(ushort key, uint value)
    {
        var data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Add(key, data);
    }

    /// <summary>Adds a text with its final zero byte.</summary>
    public void AddText(ushort key, string text) => Add(key, Encoding.UTF8.GetBytes(text + "\0"));

    /// <summary>Adds a named item: it gets a key from 0x20 on, in the order of the names, and an entry in the directory.</summary>
    /// <param name="name">1 to 55 ASCII characters, unique.</param>
    /// <exception cref="ArgumentException">The name is too long, not ASCII or taken.</exception>
    public void AddFile(string name, byte[] data) => AddFile(name, new Item(data.Length, data, null));

    /// <inheritdoc cref="AddFile(string, byte[])"/>
    public void AddFile(string name, long length, FwCfgReader reader) => AddFile(name, new Item(length, null, reader));

    private void AddFile(string name, Item item)
    {
        if (name.Length is 0 or >= FileNameBytes || !Ascii.IsValid(name)) throw new ArgumentException($"fw_cfg file name '{name}' is empty, too long or not ASCII", nameof(name));
        foreach (var file in _files)
            if (file.Name == name) throw new ArgumentException($"fw_cfg file '{name}' is there twice", nameof(name));
        _files.Add((name, item));
        _files.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        BuildDirectory();
    }

    private void BuildDirectory()
    {
        var directory = new byte[4 + (FileEntryBytes * _files.Count)];
        BinaryPrimitives.WriteInt32BigEndian(directory, _files.Count);
        for (var i = 0; i < _files.Count; i++)
        {
            var (name, item) = _files[i];
            var key = (ushort)(KeyFirstFile + i);
            var entry = directory.AsSpan(4 + (FileEntryBytes * i), FileEntryBytes);
            BinaryPrimitives.WriteUInt32BigEndian(entry, (uint)item.Length);
            BinaryPrimitives.WriteUInt16BigEndian(entry[4..], key);
            Encoding.ASCII.GetBytes(name, entry[8..]);
            _items[key] = item;
        }

        Add(KeyFileDirectory, directory);
    }

    private void Put(ushort key, Item item)
    {
        _items[key] = item;
        if (key == _selector) Find();
    }

    private void Select(ushort key)
    {
        _selector = (ushort)(key & KeyMask);
        _offset = 0;
        Find();
    }

    private void Find()
    {
        _items.TryGetValue(_selector, out _item);
        _windowLength = 0;
    }

    /// <summary>The next bytes of the item; past its end there are zeros.</summary>
    /// <returns>False when the item's source failed.</returns>
    private bool Take(Span<byte> destination)
    {
        var available = _item is null ? 0 : Math.Max(0, _item.Length - _offset);
        var count = (int)Math.Min(destination.Length, available);
        var ok = true;
        if (count > 0)
        {
            if (_item!.Data is { } data) data.AsSpan((int)_offset, count).CopyTo(destination);
            else ok = _item.Reader!(_offset, destination[..count]);
            if (!ok) destination.Clear();
        }

        destination[count..].Clear();
        _offset += count;
        return ok;
    }

    private byte TakeByte()
    {
        if (_item is null || _offset >= _item.Length) return 0;
        if (_item.Data is { } data) return data[_offset++];
        if (_windowLength == 0 || _offset < _windowStart || _offset >= _windowStart + _windowLength)
        {
            var length = (int)Math.Min(ChunkBytes, _item.Length - _offset);
            if (!_item.Reader!(_offset, _window.AsSpan(0, length))) _window.AsSpan(0, length).Clear();
            _windowStart = _offset;
            _windowLength = length;
        }

        return _window[_offset++ - _windowStart];
    }

    /// <summary>A descriptor is control, length (32 bits each) and address (64), big-endian; its control becomes the result.</summary>
    private void RunDma(ulong descriptor)
    {
        Span<byte> raw = stackalloc byte[DescriptorBytes];
        if (!_dma.TryRead(descriptor, raw)) return;
        var control = BinaryPrimitives.ReadUInt32BigEndian(raw);
        var length = BinaryPrimitives.ReadUInt32BigEndian(raw[4..]);
        var address = BinaryPrimitives.ReadUInt64BigEndian(raw[8..]);
        if ((control & DmaSelect) != 0) Select((ushort)(control >> 16));
        var ok = true;
        if ((control & DmaRead) != 0) ok = Transfer(address, length);
        else if ((control & DmaWrite) != 0) ok = false;
        else if ((control & DmaSkip) != 0) _offset = Math.Min(_offset + length, Math.Max(_offset, _item?.Length ?? 0));
        BinaryPrimitives.WriteUInt32BigEndian(raw, ok ? 0 : DmaError);
        _dma.TryWrite(descriptor, raw[..4]);
    }

    private bool Transfer(ulong address, uint length)
    {
        var available = _item is null ? 0 : Math.Max(0, _item.Length - _offset);
        if (length > available + MaxPadding || address + length < address) return false;
        for (uint done = 0; done < length;)
        {
            var chunk = _chunk.AsSpan(0, (int)Math.Min(ChunkBytes, length - done));
            if (!Take(chunk) || !_dma.TryWrite(address + done, chunk)) return false;
            done += (uint)chunk.Length;
        }

        return true;
    }

    private sealed class BytePorts(FwCfg chip) : IBulkRegion
    {
        public ulong Read(ulong offset, int size) => offset == 1 ? chip.TakeByte() : AddressSpace.Mask(size);

        public void Write(ulong offset, int size, ulong value)
        {
            if (offset == 0 && size == 2) chip.Select((ushort)value);
        }

        public void ReadBlock(ulong offset, int size, Span<byte> data)
        {
            if (offset == 1 && size == 1) chip.Take(data);
            else data.Fill(0xff);
        }

        public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
        {
            for (var i = 0; i + size <= data.Length && size <= 2; i += size) Write(offset, size, size == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(data[i..]) : data[i]);
        }
    }

    /// <summary>Big-endian on a little-endian bus: the first port holds the highest byte. Writing the low half starts the transfer.</summary>
    private sealed class DmaPorts(FwCfg chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= ((DmaSignature >> (56 - (8 * ((int)offset + i)))) & 0xff) << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (size != 4) return;
            var half = BinaryPrimitives.ReverseEndianness((uint)value);
            if (offset == 0) chip._dmaHigh = half;
            else if (offset == 4)
            {
                var descriptor = ((ulong)chip._dmaHigh << 32) | half;
                chip._dmaHigh = 0;
                chip.RunDma(descriptor);
            }
        }
    }

    public void Reset(ResetKind kind)
    {
        _dmaHigh = 0;
        Select(0);
    }

    public void State(StateVisitor s)
    {
        s.U16("selector", ref _selector);
        s.I64("offset", ref _offset);
        s.U32("dma.high", ref _dmaHigh);
        if (s.IsLoading && _offset is < 0 or > MaxOffset) s.Fail("offset", $"{_offset} is past any item");
    }

    public void Restored() => Find();
}
