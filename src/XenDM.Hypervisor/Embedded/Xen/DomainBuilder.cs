using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using XenDM.Cpu;
using XenDM.Cpu.State;
using XenDM.Hypervisor.Embedded.Xen.Store;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>A loader that cannot be started; the message says why.</summary>
public sealed class DomainBuildException(string message) : Exception(message);

/// <summary>
/// Puts a guest together as libxenguest does: hvmloader with its start information and modules, the table of its memory, the pages that it shares
/// with Xen, and the first vCPU in flat protected mode.
/// </summary>
internal sealed class DomainBuilder
{
    private const uint LoaderStart = 0x10_0000;
    private const uint HvmInfoAddress = 0x9_f800;
    private const int HvmInfoBytes = 48;
    private const int PageBits = 12;
    public const ulong StoreFrame = 0xf_effc;
    private const ulong IdentityFrame = 0xf_effe;
    public const ulong ConsoleFrame = 0xf_efff;
    private const uint ReservedFrame = 0xf_eff0;
    private const uint StartMagic = 0x336e_c578;
    private const int StartInfoBytes = 56;
    private const int ModuleBytes = 32;
    private const int MemoryEntryBytes = 24;
    private const int ProgramHeaderBytes = 32;

    private readonly XenGuestOptions _options;
    private readonly GuestRam _ram;
    private readonly int _vcpus;
    private readonly uint _entry;
    private readonly uint _end;
    private readonly List<(int Offset, int FileBytes, uint Address, uint Bytes)> _segments = [];
    private uint _startInfo;

    /// <exception cref="DomainBuildException">The loader is no 32-bit ELF file for x86, or does not fit.</exception>
    public DomainBuilder(XenGuestOptions options, GuestRam ram, int vcpus)
    {
        _options = options;
        _ram = ram;
        _vcpus = vcpus;
        MemoryMap = ram.High > 0 ? [(LoaderStart, ram.Low - LoaderStart), (GuestRam.FourGiB, ram.High)] : [(LoaderStart, ram.Low - LoaderStart)];
        var elf = options.Loader.AsSpan();
        if (elf.IsEmpty) return;
        if (elf.Length < 52 || !elf[..4].SequenceEqual("\u007fELF"u8) || elf[4] != 1 || elf[5] != 1 || U16(elf, 18) is not (3 or 62)) throw new DomainBuildException("it is no 32-bit ELF file for x86");
        _entry = U32(elf, 24);
        var headers = U32(elf, 28);
        int count = U16(elf, 44);
        if (U16(elf, 42) < ProgramHeaderBytes || headers > elf.Length || (long)count * U16(elf, 42) > elf.Length - headers) throw new DomainBuildException("its program headers lie outside the file");
        for (var n = 0; n < count; n++)
        {
            var header = elf[(int)(headers + (uint)(n * U16(elf, 42)))..];
            if (U32(header, 0) != 1) continue;
            var (offset, address, fileBytes, bytes) = (U32(header, 4), U32(header, 12), U32(header, 16), U32(header, 20));
            if (offset > elf.Length || fileBytes > elf.Length - offset || fileBytes > bytes) throw new DomainBuildException("a segment lies outside the file");
            if (address < LoaderStart || address > ram.Low || bytes > ram.Low - address) throw new DomainBuildException($"a segment at {address:x} with {bytes:x} bytes lies outside the guest's RAM");
            _segments.Add(((int)offset, (int)fileBytes, address, bytes));
            _end = Math.Max(_end, address + bytes);
        }

        if (_segments.Count == 0) throw new DomainBuildException("it has nothing to load");
    }

    /// <summary>RAM from 1 MiB on.</summary>
    public IReadOnlyList<(ulong Start, ulong Bytes)> MemoryMap { get; }

    /// <summary>The nodes that a toolstack writes and hvmloader and PV drivers read.</summary>
    public void FillStore(XenStore store, int domain, int storePort, int consolePort)
    {
        var home = $"/local/domain/{domain}";
        var uuid = _options.Uuid.ToString();
        store.Make(home, domain, guestMayWrite: false);
        void Write(string path, string value) => store.Write($"{home}/{path}", value);
        Write("vm", $"/vm/{uuid}");
        Write("name", "guest");
        Write("domid", domain.ToString(CultureInfo.InvariantCulture));
        Write("memory/static-max", KiB(_ram.Low + _ram.High));
        Write("memory/target", KiB(_ram.Low + _ram.High));
        Write("store/port", storePort.ToString(CultureInfo.InvariantCulture));
        Write("store/ring-ref", StoreFrame.ToString(CultureInfo.InvariantCulture));
        Write("console/port", consolePort.ToString(CultureInfo.InvariantCulture));
        Write("console/ring-ref", ConsoleFrame.ToString(CultureInfo.InvariantCulture));
        for (var n = 0; n < _vcpus; n++) Write($"cpu/{n}/availability", "online");
        foreach (var feature in (string[])["acpi", "acpi_s3", "acpi_s4", "acpi_laptop_slate"]) Write($"platform/{feature}", feature == "acpi_laptop_slate" ? "0" : "1");
        Write("platform/device-model", "qemu_xen");
        Write("hvmloader/bios", "seabios");
        Write("hvmloader/allow-memory-relocate", "0");
        store.Make($"{home}/hvmloader/generation-id-address", domain, guestMayWrite: true);
        foreach (var folder in (string[])["control", "data", "drivers", "feature", "attr", "error", "device"]) store.Make($"{home}/{folder}", domain, guestMayWrite: true);
        foreach (var request in (string[])["shutdown", "sysrq", "feature-poweroff", "feature-reboot", "feature-suspend"]) store.Write($"{home}/control/{request}", "");
        Write("control/platform-feature-multiprocessor-suspend", "1");
        Write("control/platform-feature-xs_reset_watches", "1");
        store.Write($"/vm/{uuid}/uuid", uuid);
        store.Write($"/vm/{uuid}/name", "guest");
    }

    /// <summary>Loader, modules, tables and the pages that the guest shares with Xen.</summary>
    public void FillMemory(Physmap physmap, HvmParameters parameters, int storePort, int consolePort)
    {
        foreach (var (offset, fileBytes, address, bytes) in _segments)
        {
            _ram.TryWrite(address, new byte[bytes]);
            _ram.TryWrite(address, _options.Loader.AsSpan(offset, fileBytes));
        }

        if (_segments.Count > 0)
        {
            var firmware = PageUp(_end);
            _ram.TryWrite(firmware, _options.Firmware);
            WriteStartInfo(PageUp(firmware + (uint)_options.Firmware.Length), firmware);
            WriteHvmInfo();
        }

        foreach (var frame in (ulong[])[StoreFrame, IdentityFrame, ConsoleFrame]) physmap.TryPopulate(frame);
        var identity = Physmap.Bytes(Host(IdentityFrame));
        for (var n = 0; n < identity.Length / 4; n++) BinaryPrimitives.WriteUInt32LittleEndian(identity[(n * 4)..], ((uint)n << 22) | 0xe7);
        parameters[HvmParameter.StoreFrame] = StoreFrame;
        parameters[HvmParameter.StoreEventChannel] = (ulong)storePort;
        parameters[HvmParameter.ConsoleFrame] = ConsoleFrame;
        parameters[HvmParameter.ConsoleEventChannel] = (ulong)consolePort;
    }

    /// <summary>Flat protected mode at the loader's entry.</summary>
    public unsafe void SetFirstVcpu(X86Cpu cpu)
    {
        cpu.Reset();
        var c = cpu.State;
        for (var r = 0; r < 16; r++) c->R[r] = 0;
        c->R[3] = _startInfo;
        for (var s = 0; s < 6; s++) c->Seg[s] = new Segment { Limit = uint.MaxValue, Access = (ushort)(s == Segment.Cs ? 0xc09b : 0xc093) };
        c->Seg[Segment.Tr] = new Segment { Limit = 0x67, Access = 0x8b };
        c->Cr0 = 0x11;
        c->Rip = _entry;
        cpu.Refresh();
    }

    private void WriteStartInfo(uint at, uint firmware)
    {
        var modules = at + StartInfoBytes;
        var memory = modules + ModuleBytes;
        var name = memory + (uint)(MemoryMap.Count * MemoryEntryBytes);
        var page = new byte[4096];
        var info = page.AsSpan();
        var hasFirmware = _options.Firmware.Length > 0;
        _startInfo = at;
        BinaryPrimitives.WriteUInt32LittleEndian(info, StartMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(info[4..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(info[12..], hasFirmware ? 1u : 0);
        BinaryPrimitives.WriteUInt64LittleEndian(info[16..], modules);
        BinaryPrimitives.WriteUInt64LittleEndian(info[40..], memory);
        BinaryPrimitives.WriteUInt32LittleEndian(info[48..], (uint)MemoryMap.Count);
        var module = info[StartInfoBytes..];
        BinaryPrimitives.WriteUInt64LittleEndian(module, firmware);
        BinaryPrimitives.WriteUInt64LittleEndian(module[8..], (ulong)_options.Firmware.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(module[16..], name);
        for (var n = 0; n < MemoryMap.Count; n++)
        {
            var entry = info[((int)(memory - at) + (n * MemoryEntryBytes))..];
            BinaryPrimitives.WriteUInt64LittleEndian(entry, MemoryMap[n].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], MemoryMap[n].Bytes);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], 1);
        }

        Encoding.ASCII.GetBytes("firmware\0", info[(int)(name - at)..]);
        _ram.TryWrite(at, page);
    }

    /// <summary>The table at the end of conventional memory (xen/public/hvm/hvm_info_table.h).</summary>
    private void WriteHvmInfo()
    {
        Span<byte> info = stackalloc byte[HvmInfoBytes];
        info.Clear();
        Encoding.ASCII.GetBytes("HVM INFO", info);
        BinaryPrimitives.WriteUInt32LittleEndian(info[8..], HvmInfoBytes);
        info[13] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(info[16..], (uint)_vcpus);
        BinaryPrimitives.WriteUInt32LittleEndian(info[20..], (uint)(_ram.Low >> PageBits));
        BinaryPrimitives.WriteUInt32LittleEndian(info[24..], ReservedFrame);
        BinaryPrimitives.WriteUInt32LittleEndian(info[28..], _ram.High > 0 ? (uint)((GuestRam.FourGiB + _ram.High) >> PageBits) : 0);
        for (var n = 0; n < _vcpus; n++) info[32 + (n / 8)] |= (byte)(1 << (n & 7));
        byte sum = 0;
        foreach (var b in info) sum += b;
        info[12] = (byte)-sum;
        _ram.TryWrite(HvmInfoAddress, info);
    }

    private unsafe nint Host(ulong frame) => (nint)_ram.Map.Find(frame << PageBits, out _);

    private static uint PageUp(uint address) => (address + 0xfff) & ~0xfffu;

    private static string KiB(ulong bytes) => (bytes >> 10).ToString(CultureInfo.InvariantCulture);

    private static ushort U16(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt16LittleEndian(data[at..]);

    private static uint U32(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);
}
