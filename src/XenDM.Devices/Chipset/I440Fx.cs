using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>The guest changed where the RAM between C0000h and FFFFFh is seen.</summary>
/// <param name="readable">Reads see RAM; else what is on the bus (ROM).</param>
/// <param name="writable">Writes go to RAM; else to the bus.</param>
public delegate void ShadowRamChanged(ulong start, ulong length, bool readable, bool writable);

/// <summary>
/// Intel 82441FX PCI and memory controller (PMC), the host bridge at 00:00.0: 8086:1237 revision 2. Ports 0xcf8 (CONFADD) and 0xcfc
/// (CONFDATA), PCI configuration mechanism #1. No interrupt, no DMA. Data sheet: Intel 290549-001, sections 3.1 (I/O registers) and 3.2
/// (configuration registers).
/// Deviations: guest memory belongs to the hypervisor, so PAM and SMRAM are registers without effect, and the DRAM row boundaries do not
/// tell the size of memory. TRC (0x93) is not there: firmware resets through the PIIX3.
/// </summary>
public sealed class I440Fx : PciFunction
{
    private const int Pmccfg = 0x50;
    private const int Dramc = 0x57;
    private const int Dramt = 0x58;
    private const int Pam0 = 0x59;
    private const int PamCount = 7;
    private const int Drb0 = 0x60;
    private const int DrbCount = 8;
    private const int Fdhc = 0x68;
    private const int Mtt = 0x70;
    private const int Clt = 0x71;
    private const int Smram = 0x72;
    private const int Errcmd = 0x90;
    private const int Errsts = 0x91;
    private const ushort ConfigAddressPort = 0xcf8;
    private const ushort ConfigDataPort = 0xcfc;
    private const uint ConfigEnable = 1u << 31;
    private const uint ConfigAddressBits = ConfigEnable | 0x00ff_ffff;

    /// <summary>SMRAM: DOPEN, DCLS, DLCK, G_SMRAME; C_BASE_SEG is fixed.</summary>
    private const byte SmramWritable = 0x78;
    private const byte SmramOpen = 0x40;
    private const byte SmramLock = 0x10;
    private const byte SmramWritableLocked = 0x20;

    private static readonly RegisterTable<I440Fx> s_address = new RegisterTable<I440Fx>("440FX configuration address", 4)
        .Dword(0, "CONFADD", static c => ref c._configAddress, mask: ConfigAddressBits)
        .Build();

    private readonly IIoRegion? _resetControl;
    private readonly ShadowRamChanged? _shadow;
    [Glue("a mapping; made when the function comes onto the bus")]
    private RegionMapping? _addressMapping;
    [Glue("a mapping; made when the function comes onto the bus")]
    private RegionMapping? _dataMapping;
    private uint _configAddress;

    /// <param name="resetControl">Answers byte accesses to port 0xcf9, which lies inside CONFADD: the PIIX3's <see cref="Piix3Isa.ResetControl"/>.</param>
    /// <param name="firmwareIds">The subsystem ids 1af4:1100 by which SeaBIOS, started without hvmloader, knows the board. Under Xen they are not there.</param>
    /// <param name="shadow">Told what PAM0 to PAM6 say; null where RAM is always there, as under Xen.</param>
    public I440Fx(IGuestMemory memory, IIoRegion? resetControl, bool firmwareIds = false, ShadowRamChanged? shadow = null)
        : base("i440fx", 0x8086, 0x1237, 0x060000, 2, memory)
    {
        _resetControl = resetControl;
        _shadow = shadow;
        if (firmwareIds) SetSubsystem(0x1af4, 0x1100);
        SetDefault16(PciConstants.Command, PciConstants.CommandMemory | PciConstants.CommandMaster);
        SetWritable16(PciConstants.Command, 0x0140);
        SetDefault16(PciConstants.Status, 0x0280);
        SetWritable8(0x0c, 0);
        SetWritable8(0x0d, 0xf8);
        SetWritable8(PciConstants.InterruptLine, 0);
        SetWritable16(Pmccfg, 0xffff);
        SetWritable8(0x53, 0xff);
        SetWritable8(0x54, 0xff);
        SetWritable16(0x55, 0xffff);
        SetDefault8(Dramc, 0x01);
        SetWritable8(Dramc, 0xff);
        SetDefault8(Dramt, 0x10);
        SetWritable8(Dramt, 0xff);
        SetWritable8(Pam0, 0x30);
        for (var i = 1; i < PamCount; i++) SetWritable8(Pam0 + i, 0x33);
        for (var i = 0; i < DrbCount; i++)
        {
            SetDefault8(Drb0 + i, 0x01);
            SetWritable8(Drb0 + i, 0xff);
        }

        SetWritable8(Fdhc, 0xc0);
        SetWritable8(Mtt, 0xf8);
        SetWritable8(Clt, 0xff);
        SetDefault8(Smram, 0x02);
        SetWritable8(Smram, SmramWritable);
        SetWritable8(Errcmd, 0xff);
        SetClearable8(Errsts, 0x11);
    }

    protected override void OnAttached()
    {
        _addressMapping = Bus!.Ports.Map("i440fx CONFADD", ConfigAddressPort, 4, new AddressPort(this));
        _dataMapping = Bus.Ports.Map("i440fx CONFDATA", ConfigDataPort, 4, new DataPort(this));
    }

    protected override void OnDetached()
    {
        _addressMapping?.Remove();
        _dataMapping?.Remove();
    }

    protected override void ConfigWritten(int register, int size)
    {
        if (Overlaps(register, size, Smram, 1)) ApplySmramLock();
        if (_shadow is null || !Overlaps(register, size, Pam0, PamCount)) return;
        for (var pam = Math.Max(register, Pam0); pam < Math.Min(register + size, Pam0 + PamCount); pam++) ApplyShadow(pam - Pam0);
    }

    /// <summary>PAM0 7:4 is the BIOS segment; of the others each half is 16 KiB, from C0000h up. Bit 0 of a half is RE, bit 1 WE.</summary>
    private void ApplyShadow(int pam)
    {
        var value = Config[Pam0 + pam];
        if (pam == 0)
        {
            _shadow?.Invoke(0xf_0000, 0x1_0000, (value & 0x10) != 0, (value & 0x20) != 0);
            return;
        }

        var start = 0xc_0000 + ((ulong)(pam - 1) * 0x8000);
        _shadow?.Invoke(start, 0x4000, (value & 0x01) != 0, (value & 0x02) != 0);
        _shadow?.Invoke(start + 0x4000, 0x4000, (value & 0x10) != 0, (value & 0x20) != 0);
    }

    private void ApplyShadow()
    {
        for (var pam = 0; pam < PamCount; pam++) ApplyShadow(pam);
    }

    /// <summary>DLCK closes SMRAM and stays until reset.</summary>
    private void ApplySmramLock()
    {
        var locked = (Config[Smram] & SmramLock) != 0;
        SetWritable8(Smram, locked ? SmramWritableLocked : SmramWritable);
        if (locked) PokeConfig(Smram, (byte)(Config[Smram] & ~SmramOpen));
    }

    /// <summary>CONFADD takes whole dwords only; smaller accesses belong to whoever else sits there (0xcf9).</summary>
    private sealed class AddressPort(I440Fx chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            if (size == 4) return s_address.Read(chip, offset, size);
            ulong value = 0;
            for (var i = 0; i < size; i++)
            {
                var piece = offset + (ulong)i == 1 && chip._resetControl is { } rcr ? rcr.Read(0, 1) & 0xff : 0xff;
                value |= piece << (8 * i);
            }

            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (size == 4) s_address.Write(chip, offset, size, value);
            else if (offset <= 1 && offset + (ulong)size > 1) chip._resetControl?.Write(0, 1, (value >> (8 * (1 - (int)offset))) & 0xff);
        }
    }

    private sealed class DataPort(I440Fx chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size) =>
            (chip._configAddress & ConfigEnable) != 0 && chip.Bus is { } bus ? bus.Read(Target(offset), size) : AddressSpace.Mask(size);

        public void Write(ulong offset, int size, ulong value)
        {
            if ((chip._configAddress & ConfigEnable) != 0) chip.Bus?.Write(Target(offset), size, value);
        }

        /// <summary>
        /// Bus, device and function move from 23:8 to 31:16; the byte in the dword comes from the port. Bits 1:0 of CONFADD are or-ed to it:
        /// reserved in the data sheet, but drivers of emulated boards put the byte there and always use the first port.
        /// </summary>
        private ulong Target(ulong offset) => ((ulong)(chip._configAddress & 0x00ff_ff00) << 8) | (chip._configAddress & 0xff) | offset;
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        s_address.Reset(this);
        ApplySmramLock();
        ApplyShadow();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Registers(s_address, this);
    }

    public override void Restored()
    {
        base.Restored();
        ApplySmramLock();
        ApplyShadow();
    }
}
