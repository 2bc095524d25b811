using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace XenDM.Devices.Firmware;

/// <summary>A kernel that a boot ROM can load and enter.</summary>
public interface IKernelImage
{
    /// <summary>Puts all parts where the boot ROM looks for them.</summary>
    /// <param name="kernelFile">Reads the kernel's file; offsets are the file's.</param>
    /// <param name="initrd">Reads what was given as initial ramdisk; null without one.</param>
    void AddTo(FwCfg config, FwCfgReader kernelFile, FwCfgReader? initrd);
}

/// <summary>A file that says it is a Multiboot kernel and cannot be booted as one; the message says why.</summary>
public sealed class MultibootException : Exception
{
    public MultibootException(string message)
        : base(message)
    {
    }
}

/// <summary>A file that the kernel gets in memory.</summary>
/// <param name="Length">Bytes.</param>
/// <param name="Text">What the kernel is told about it: its path and arguments.</param>
public sealed record MultibootModule(long Length, string Text);

/// <summary>Reads a part of a module's file.</summary>
/// <returns>False when the bytes could not be read.</returns>
public delegate bool MultibootModuleReader(int module, long offset, Span<byte> destination);

/// <summary>
/// A Multiboot kernel (version 1): ELF for i386 or x86-64, entered in 32-bit code either way, or any file with addresses in its Multiboot header.
/// The parts stay in their files; memory between and behind them is zero. Specification: Multiboot Specification 0.6.96.
/// Deviations: kernels load at 0x7c00 to 0x80000, or at 1 MiB or above; the wish for a video mode is not heard; no symbols are passed.
/// </summary>
public sealed class MultibootImage : IKernelImage
{
    /// <summary>Bytes from the start of the file in which the header lies; an ELF file's program headers must too.</summary>
    public const int HeadBytes = 64 << 10;

    /// <summary>Where the boot ROM puts the information structure, with the texts and lists it points to.</summary>
    public const uint InfoAddress = 0x80000;

    private const int HeaderSearchBytes = 8192;
    private const uint HeaderMagic = 0x1badb002;
    private const uint FlagAddresses = 1 << 16;
    private const uint KnownRequirements = 0x7;
    private const uint RequirementMask = 0xffff;

    /// <summary>Below lie the BIOS's data and what the boot ROM works with; from the information structure to 1 MiB nothing is free.</summary>
    private const uint LowestAddress = 0x7c00;

    private const uint LowEnd = InfoAddress;
    private const uint OneMiB = 0x100000;
    private const uint PageBytes = 4096;

    /// <summary>Firmware keeps its tables at the top of low memory.</summary>
    private const uint FirmwareReserve = 1 << 20;

    // The information structure: offset of each field, and the flags for those that are valid.
    private const int InfoBytes = 116;
    private const int InfoCommandLine = 16;
    private const int InfoModuleCount = 20;
    private const int InfoModules = 24;
    private const int InfoMapLength = 44;
    private const int InfoMap = 48;
    private const int InfoLoaderName = 64;
    private const uint HasMemory = 1 << 0;
    private const uint HasCommandLine = 1 << 2;
    private const uint HasModules = 1 << 3;
    private const uint HasMap = 1 << 6;
    private const uint HasLoaderName = 1 << 9;
    private const int MapRoom = 64 * 24;
    private const int ModuleEntryBytes = 16;

    /// <summary>The boot ROM reaches the structure through one segment and keeps out of what lies above 0x90000.</summary>
    private const int MaxInfoBytes = 0x8000;

    private readonly List<Part> _parts;
    private readonly List<(uint Start, long Length)> _modules;

    private MultibootImage(List<Part> parts, uint start, uint end, uint entry, List<(uint Start, long Length)> modules, byte[] info)
    {
        _parts = parts;
        _modules = modules;
        Start = start;
        End = end;
        Entry = entry;
        Info = info;
    }

    /// <summary>First address in memory.</summary>
    public uint Start { get; }

    /// <summary>End of the memory that is loaded or zeroed.</summary>
    public uint End { get; }

    /// <summary>Where the kernel is entered, in 32-bit protected mode without paging.</summary>
    public uint Entry { get; }

    /// <summary>The information structure for <see cref="InfoAddress"/>, without what only the BIOS knows.</summary>
    public byte[] Info { get; }

    /// <summary>First address and bytes of each module.</summary>
    public IReadOnlyList<(uint Start, long Length)> Modules => _modules;

    /// <summary>A run of the file and where it goes.</summary>
    private readonly record struct Part(long FileOffset, uint Address, uint Length);

    /// <summary>Whether there is a Multiboot header.</summary>
    public static bool IsMultiboot(ReadOnlySpan<byte> head) => FindHeader(head) >= 0;

    /// <summary>Splits what was given as initial ramdisk: modules between commas (two stand for one in a name), each a path and its arguments.</summary>
    public static IReadOnlyList<(string Path, string Text)> ModuleList(string? initrd)
    {
        var modules = new List<(string, string)>();
        if (string.IsNullOrEmpty(initrd)) return modules;
        foreach (var part in initrd.Replace(",,", "\0", StringComparison.Ordinal).Split(','))
        {
            var text = part.Replace('\0', ',');
            var space = text.IndexOf(' ', StringComparison.Ordinal);
            modules.Add((space < 0 ? text : text[..space], text));
        }

        return modules;
    }

    /// <summary>Takes a kernel apart.</summary>
    /// <param name="head">The start of the file: <see cref="HeadBytes"/>, or all of a shorter file.</param>
    /// <param name="fileLength">Bytes of the whole file.</param>
    /// <param name="name">The kernel's path, with which its command line begins.</param>
    /// <param name="lowMemory">Bytes of RAM below 4 GiB.</param>
    /// <exception cref="MultibootException">Something in the file is wrong, or does not fit in memory.</exception>
    public static MultibootImage Create(ReadOnlySpan<byte> head, long fileLength, string name, string commandLine, IReadOnlyList<MultibootModule> modules, ulong lowMemory)
    {
        var header = FindHeader(head);
        if (header < 0) throw new MultibootException("no Multiboot header");
        var flags = U32(head, header + 4);
        if ((flags & RequirementMask & ~KnownRequirements) != 0) throw new MultibootException($"asks its loader for features that are not known (flags 0x{flags & RequirementMask:x})");
        var parts = new List<Part>();
        var span = (flags & FlagAddresses) != 0 ? FromAddresses(head, header, fileLength, parts)
            : head.StartsWith("\u007fELF"u8) ? FromElf(head, fileLength, parts)
            : throw new MultibootException("neither an ELF file nor are addresses in its Multiboot header");
        if (span.Start < LowestAddress || (span.Start < OneMiB && span.End > LowEnd))
            throw new MultibootException($"loads at 0x{span.Start:x} to 0x{span.End:x}; below 1 MiB only 0x{LowestAddress:x} to 0x{LowEnd:x} is free");
        if (span.Entry < span.Start || span.Entry >= span.End) throw new MultibootException($"its entry point 0x{span.Entry:x} lies outside of what is loaded, 0x{span.Start:x} to 0x{span.End:x}");
        var memoryEnd = Math.Min(lowMemory, uint.MaxValue) - Math.Min(lowMemory, FirmwareReserve);
        if (span.End > memoryEnd) throw new MultibootException($"the kernel needs {(span.End + FirmwareReserve + 0xf_ffff) >> 20} MiB of memory below 4 GiB, the guest has {lowMemory >> 20}");
        var places = new List<(uint Start, long Length)>();
        var next = Math.Max(span.End, OneMiB);
        foreach (var module in modules)
        {
            next = (next + PageBytes - 1) & ~(ulong)(PageBytes - 1);
            if (module.Length < 0 || next > memoryEnd || (ulong)module.Length > memoryEnd - next) throw new MultibootException($"the module '{module.Text}' of {module.Length} bytes does not fit in the guest's memory");
            places.Add(((uint)next, module.Length));
            next += (ulong)module.Length;
        }

        var line = commandLine.Length == 0 ? name : $"{name} {commandLine}";
        return new MultibootImage(parts, (uint)span.Start, (uint)span.End, (uint)span.Entry, places, MakeInfo(line, modules, places));
    }

    /// <inheritdoc/>
    public void AddTo(FwCfg config, FwCfgReader kernelFile, FwCfgReader? initrd)
    {
        config.AddU32(FwCfg.KeyKernelEntry, Entry);
        config.AddU32(FwCfg.KeySetupAddress, InfoAddress);
        config.AddU32(FwCfg.KeySetupSize, (uint)Info.Length);
        config.Add(FwCfg.KeySetupData, Info);
        config.AddU32(FwCfg.KeyKernelAddress, Start);
        config.AddU32(FwCfg.KeyKernelSize, End - Start);
        config.Add(FwCfg.KeyKernelData, End - Start, (offset, destination) => ReadMemory(kernelFile, (ulong)Start + (ulong)offset, destination));
        var moduleBytes = _modules.Count == 0 || initrd is null ? 0 : _modules[^1].Start + _modules[^1].Length - _modules[0].Start;
        config.AddU32(FwCfg.KeyInitrdAddress, moduleBytes == 0 ? 0 : _modules[0].Start);
        config.AddU32(FwCfg.KeyInitrdSize, (uint)moduleBytes);
        if (moduleBytes > 0) config.Add(FwCfg.KeyInitrdData, moduleBytes, initrd!);
    }

    /// <summary>Reads a piece of the memory in which the modules lie.</summary>
    /// <param name="offset">From the start of the first module.</param>
    /// <param name="file">Reads from a module's file.</param>
    /// <returns>False when a file could not be read.</returns>
    public bool ReadModules(long offset, Span<byte> destination, MultibootModuleReader file)
    {
        destination.Clear();
        var from = _modules[0].Start + offset;
        var to = from + destination.Length;
        for (var i = 0; i < _modules.Count; i++)
        {
            var (start, length) = _modules[i];
            var first = Math.Max(from, start);
            var last = Math.Min(to, start + length);
            if (first < last && !file(i, first - start, destination[(int)(first - from)..(int)(last - from)])) return false;
        }

        return true;
    }

    /// <summary>Reads a piece of memory as the kernel is to find it: later parts win where two overlap.</summary>
    public bool ReadMemory(FwCfgReader file, ulong address, Span<byte> destination)
    {
        destination.Clear();
        var end = address + (ulong)destination.Length;
        foreach (var part in _parts)
        {
            var from = Math.Max(address, part.Address);
            var to = Math.Min(end, (ulong)part.Address + part.Length);
            if (from < to && !file(part.FileOffset + (long)(from - part.Address), destination[(int)(from - address)..(int)(to - address)])) return false;
        }

        return true;
    }

    /// <summary>The header is at a multiple of 4 and its three first words add up to 0.</summary>
    private static int FindHeader(ReadOnlySpan<byte> head)
    {
        for (var at = 0; at + 12 <= Math.Min(head.Length, HeaderSearchBytes); at += 4)
            if (U32(head, at) == HeaderMagic && HeaderMagic + U32(head, at + 4) + U32(head, at + 8) == 0) return at;
        return -1;
    }

    private static (ulong Start, ulong End, ulong Entry) FromAddresses(ReadOnlySpan<byte> head, int header, long fileLength, List<Part> parts)
    {
        if (header + 32 > head.Length) throw new MultibootException("cut off within its Multiboot header");
        var headerAddress = U32(head, header + 12);
        var load = U32(head, header + 16);
        var loadEnd = (ulong)U32(head, header + 20);
        var zeroEnd = (ulong)U32(head, header + 24);
        if (load > headerAddress || headerAddress - load > (uint)header) throw new MultibootException($"its load address 0x{load:x} does not fit its header at 0x{headerAddress:x}, {header} bytes into the file");
        var offset = header - (int)(headerAddress - load);
        if (loadEnd == 0) loadEnd = load + (ulong)(fileLength - offset);
        if (loadEnd <= load || loadEnd - load > (ulong)(fileLength - offset) || loadEnd > uint.MaxValue) throw new MultibootException($"its end of load 0x{loadEnd:x} does not fit: 0x{load:x} is where loading begins, {fileLength - offset} bytes of file follow");
        if (zeroEnd != 0 && zeroEnd < loadEnd) throw new MultibootException($"its zeroed memory ends at 0x{zeroEnd:x}, before what is loaded, 0x{loadEnd:x}");
        parts.Add(new Part(offset, load, (uint)(loadEnd - load)));
        return (load, Math.Max(loadEnd, zeroEnd), U32(head, header + 28));
    }

    private static (ulong Start, ulong End, ulong Entry) FromElf(ReadOnlySpan<byte> head, long fileLength, List<Part> parts)
    {
        const int machineI386 = 3, machineX64 = 62, loadable = 1;
        if (head.Length < 64 || head[5] != 1) throw new MultibootException("an ELF file that is cut off or not little-endian");
        var wide = head[4] == 2;
        var machine = BinaryPrimitives.ReadUInt16LittleEndian(head[18..]);
        if (head[4] is not (1 or 2) || machine is not (machineI386 or machineX64)) throw new MultibootException($"an ELF file for another machine ({machine}), not x86");
        var entry = wide ? U64(head, 24) : U32(head, 24);
        var table = wide ? U64(head, 32) : U32(head, 28);
        var entryBytes = (int)BinaryPrimitives.ReadUInt16LittleEndian(head[(wide ? 54 : 42)..]);
        var count = (int)BinaryPrimitives.ReadUInt16LittleEndian(head[(wide ? 56 : 44)..]);
        if (entryBytes < (wide ? 56 : 32)) throw new MultibootException($"its ELF program headers have {entryBytes} bytes each");
        if (table > (ulong)head.Length || (ulong)count * (ulong)entryBytes > (ulong)head.Length - table) throw new MultibootException($"its {count} ELF program headers at 0x{table:x} lie outside of the file's first {head.Length} bytes");
        ulong start = ulong.MaxValue, end = 0, entryAddress = entry;
        for (var i = 0; i < count; i++)
        {
            var row = head.Slice((int)table + (i * entryBytes), entryBytes);
            if (U32(row, 0) != loadable) continue;
            var offset = wide ? U64(row, 8) : U32(row, 4);
            var linear = wide ? U64(row, 16) : U32(row, 8);
            var address = wide ? U64(row, 24) : U32(row, 12);
            var length = wide ? U64(row, 32) : U32(row, 16);
            var room = wide ? U64(row, 40) : U32(row, 20);
            if (room == 0) continue;
            if (length > room) throw new MultibootException($"ELF segment {i} has more bytes in the file ({length}) than in memory ({room})");
            if (offset > (ulong)fileLength || length > (ulong)fileLength - offset) throw new MultibootException($"ELF segment {i} ends at byte {offset + length} of a file of {fileLength}: it is cut off");
            if (address > uint.MaxValue || room > uint.MaxValue - address) throw new MultibootException($"ELF segment {i} at 0x{address:x} does not end below 4 GiB");
            // The entry point is a linear address; the kernel starts without paging.
            if (entry >= linear && entry - linear < room && linear != address) entryAddress = entry - linear + address;
            if (length > 0) parts.Add(new Part((long)offset, (uint)address, (uint)length));
            start = Math.Min(start, address);
            end = Math.Max(end, address + room);
        }

        if (end == 0) throw new MultibootException("an ELF file with nothing to load");
        return (start, end, entryAddress);
    }

    private static byte[] MakeInfo(string line, IReadOnlyList<MultibootModule> modules, List<(uint Start, long Length)> places)
    {
        var bytes = new List<byte>(new byte[InfoBytes]);
        var flags = HasMemory | HasCommandLine | HasModules | HasMap | HasLoaderName;
        var map = Reserve(MapRoom);
        var list = Reserve(modules.Count * ModuleEntryBytes);
        var loader = Text("XenDM");
        var command = Text(line);
        var texts = new uint[modules.Count];
        for (var i = 0; i < texts.Length; i++) texts[i] = Text(modules[i].Text);
        if (bytes.Count > MaxInfoBytes) throw new MultibootException($"command line and modules' texts take {bytes.Count} bytes, {MaxInfoBytes} are possible");
        var info = bytes.ToArray();
        Put(info, 0, flags);
        Put(info, InfoCommandLine, command);
        Put(info, InfoModuleCount, (uint)modules.Count);
        Put(info, InfoModules, list);
        Put(info, InfoMapLength, MapRoom);
        Put(info, InfoMap, map);
        Put(info, InfoLoaderName, loader);
        for (var i = 0; i < texts.Length; i++)
        {
            var row = (int)(list - InfoAddress) + (i * ModuleEntryBytes);
            Put(info, row, places[i].Start);
            Put(info, row + 4, (uint)(places[i].Start + places[i].Length));
            Put(info, row + 8, texts[i]);
        }

        return info;

        uint Reserve(int count)
        {
            while (bytes.Count % 8 != 0) bytes.Add(0);
            var at = InfoAddress + (uint)bytes.Count;
            bytes.AddRange(new byte[count]);
            return at;
        }

        uint Text(string text)
        {
            var at = InfoAddress + (uint)bytes.Count;
            bytes.AddRange(Encoding.UTF8.GetBytes(text + "\0"));
            return at;
        }

        static void Put(byte[] info, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(info.AsSpan(at), value);
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static ulong U64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);
}
