using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace XenDM.Machines.Firmware;

/// <summary>
/// SMBIOS 2.8 structures: BIOS (0), system (1), enclosure (3), a processor each (4), memory array, module and mapping (16, 17, 19), boot status
/// (32) and the end (127). Specification: DMTF DSP0134 2.8, sections 5 and 7.
/// </summary>
internal static class SmbiosTables
{
    private const int AnchorBytes = 31;
    private const int IntermediateStart = 16;
    private const ushort BiosHandle = 0x0000;
    private const ushort SystemHandle = 0x0100;
    private const ushort ChassisHandle = 0x0300;
    private const ushort ProcessorHandle = 0x0400;
    private const ushort ArrayHandle = 0x1000;
    private const ushort ModuleHandle = 0x1100;
    private const ushort MappingHandle = 0x1300;
    private const ushort BootHandle = 0x2000;
    private const ushort EndHandle = 0x7f00;
    private const byte Unknown = 2;
    private const byte Other = 1;
    private const byte Safe = 3;
    private const ushort NoHandle = 0xffff;
    private const ushort NoErrorHandle = 0xfffe;
    private const ulong FourGiB = 1ul << 32;

    /// <param name="address">Where the structures will lie; firmware that places them itself writes its own.</param>
    /// <returns>The entry point and the structures.</returns>
    public static (byte[] Anchor, byte[] Tables) Build(SmbiosOptions options, uint address = 0)
    {
        var file = new StructureFile();
        Bios(file, options);
        System(file, options);
        Chassis(file, options);
        for (var cpu = 0; cpu < options.Cpus; cpu++) Processor(file, options, cpu);
        Memory(file, options);

        // No error was seen at the last boot.
        file.Add(32, BootHandle, [0, 0, 0, 0, 0, 0, 0]);
        file.Add(127, EndHandle, []);
        return (Anchor(file, address), file.ToArray());
    }

    private static byte[] Anchor(StructureFile file, uint address)
    {
        var anchor = new byte[AnchorBytes];
        "_SM_"u8.CopyTo(anchor);
        anchor[5] = AnchorBytes;
        anchor[6] = 2;
        anchor[7] = 8;
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(8), (ushort)file.LargestBytes);
        "_DMI_"u8.CopyTo(anchor.AsSpan(IntermediateStart));
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(22), (ushort)file.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(anchor.AsSpan(24), address);
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(28), (ushort)file.Count);
        anchor[30] = 0x28;
        anchor[21] = Complement(anchor.AsSpan(IntermediateStart));
        anchor[4] = Complement(anchor);
        return anchor;
    }

    private static byte Complement(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var value in bytes) sum += value;
        return (byte)-sum;
    }

    private static void Bios(StructureFile file, SmbiosOptions options)
    {
        var body = new byte[20];
        body[0] = 1;
        body[1] = 2;
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(2), 0xe800);
        body[4] = 3;

        // 256 KiB in steps of 64; "characteristics are not listed"; in the second extension byte: this is a virtual machine, and updates are targeted.
        body[5] = 3;
        body[6] = 0x08;
        body[15] = 0x14;
        body[18] = body[19] = 0xff;
        file.Add(0, BiosHandle, body, options.Manufacturer, options.BiosVersion, "01/01/2025");
    }

    private static void System(StructureFile file, SmbiosOptions options)
    {
        var body = new byte[23];
        body[0] = 1;
        body[1] = 2;
        body[2] = 3;
        body[3] = (byte)(options.SerialNumber.Length > 0 ? 4 : 0);

        // The first three fields are little-endian, as Guid's are.
        options.Uuid.TryWriteBytes(body.AsSpan(4));

        // Woken by the power switch.
        body[20] = 6;
        file.Add(1, SystemHandle, body, options.Manufacturer, options.Product, options.Version, options.SerialNumber);
    }

    private static void Chassis(StructureFile file, SmbiosOptions options)
    {
        var body = new byte[18];
        body[0] = 1;
        body[1] = Other;
        body[2] = 2;
        body[5] = body[6] = body[7] = Safe;
        body[8] = Unknown;
        file.Add(3, ChassisHandle, body, options.Manufacturer, options.Version);
    }

    private static void Processor(StructureFile file, SmbiosOptions options, int cpu)
    {
        var body = new byte[38];
        body[0] = 1;

        // A central processor of a family that is "other".
        body[1] = 3;
        body[2] = Other;
        body[3] = 2;
        body[12] = 3;

        // Populated and enabled; the upgrade is "other"; no caches are described.
        body[20] = 0x41;
        body[21] = Other;
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(22), NoHandle);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(24), NoHandle);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(26), NoHandle);
        body[31] = body[32] = body[33] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(34), Unknown);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(36), Other);
        file.Add(4, (ushort)(ProcessorHandle + cpu), body, $"CPU {cpu}", options.Manufacturer, options.Version);
    }

    private static void Memory(StructureFile file, SmbiosOptions options)
    {
        var kibibytes = options.MemoryBytes >> 10;
        var array = new byte[19];
        array[0] = Other;

        // System memory without error correction.
        array[1] = 3;
        array[2] = 3;
        var large = kibibytes >= 0x8000_0000;
        BinaryPrimitives.WriteUInt32LittleEndian(array.AsSpan(3), large ? 0x8000_0000 : (uint)kibibytes);
        BinaryPrimitives.WriteUInt16LittleEndian(array.AsSpan(7), NoErrorHandle);
        BinaryPrimitives.WriteUInt16LittleEndian(array.AsSpan(9), 1);
        BinaryPrimitives.WriteUInt64LittleEndian(array.AsSpan(11), large ? options.MemoryBytes : 0);
        file.Add(16, ArrayHandle, array);

        var module = new byte[36];
        BinaryPrimitives.WriteUInt16LittleEndian(module, ArrayHandle);
        BinaryPrimitives.WriteUInt16LittleEndian(module.AsSpan(2), NoErrorHandle);
        BinaryPrimitives.WriteUInt16LittleEndian(module.AsSpan(4), 0xffff);
        BinaryPrimitives.WriteUInt16LittleEndian(module.AsSpan(6), 0xffff);
        var mebibytes = options.MemoryBytes >> 20;
        BinaryPrimitives.WriteUInt16LittleEndian(module.AsSpan(8), (ushort)Math.Min(mebibytes, 0x7fff));

        // A DIMM of "other" RAM.
        module[10] = 9;
        module[12] = 1;
        module[14] = Other;
        BinaryPrimitives.WriteUInt16LittleEndian(module.AsSpan(15), 1 << 1);
        module[19] = 2;
        BinaryPrimitives.WriteUInt32LittleEndian(module.AsSpan(24), mebibytes >= 0x7fff ? (uint)mebibytes : 0);
        file.Add(17, ModuleHandle, module, "DIMM 0", options.Manufacturer);

        Mapping(file, 0, 0, Math.Min(options.MemoryBytes, options.LowMemoryEnd));
        if (options.MemoryBytes > options.LowMemoryEnd) Mapping(file, 1, FourGiB, options.MemoryBytes - options.LowMemoryEnd);
    }

    private static void Mapping(StructureFile file, int number, ulong start, ulong length)
    {
        var body = new byte[27];
        var last = start + length - 1;
        if (last >> 10 < uint.MaxValue)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(body, (uint)(start >> 10));
            BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(4), (uint)(last >> 10));
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(body, uint.MaxValue);
            BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(4), uint.MaxValue);
            BinaryPrimitives.WriteUInt64LittleEndian(body.AsSpan(11), start);
            BinaryPrimitives.WriteUInt64LittleEndian(body.AsSpan(19), last);
        }

        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(8), ArrayHandle);
        body[10] = 1;
        file.Add(19, (ushort)(MappingHandle + number), body);
    }

    private sealed class StructureFile
    {
        private readonly List<byte> _bytes = [];

        public int Count { get; private set; }

        public int LargestBytes { get; private set; }

        public int Length => _bytes.Count;

        /// <summary>Adds a structure: header, body, then its texts, which the body names by number from 1 on.</summary>
        public void Add(byte type, ushort handle, ReadOnlySpan<byte> body, params ReadOnlySpan<string> texts)
        {
            var start = _bytes.Count;
            _bytes.AddRange([type, (byte)(body.Length + 4), (byte)handle, (byte)(handle >> 8)]);
            _bytes.AddRange(body);
            var any = false;
            foreach (var text in texts)
            {
                if (text.Length == 0) continue;
                _bytes.AddRange(Encoding.ASCII.GetBytes(text));
                _bytes.Add(0);
                any = true;
            }

            _bytes.Add(0);
            if (!any) _bytes.Add(0);
            Count++;
            LargestBytes = Math.Max(LargestBytes, _bytes.Count - start);
        }

        public byte[] ToArray() => _bytes.ToArray();
    }
}
