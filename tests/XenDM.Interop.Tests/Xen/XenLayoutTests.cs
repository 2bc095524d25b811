using System.Runtime.InteropServices;
using XenDM.Interop.Xen;
using XenDM.Testing;

namespace XenDM.Interop.Tests.Xen;

public sealed unsafe class XenLayoutTests
{
    private const string Headers = """
        #include <stdint.h>
        #include <string.h>
        #define __XEN_TOOLS__ 1
        #include <xenctrl.h>
        #include <xen/xen.h>
        #include <xen/memory.h>
        #include <xen/sched.h>
        #include <xen/hvm/ioreq.h>
        #include <xen/hvm/dm_op.h>
        #include <xen/hvm/hvm_op.h>
        #include <xen/hvm/params.h>
        #include <xen/hvm/hvm_info_table.h>
        #include <xengnttab.h>
        #include <xenstore.h>
        /* The value of an object's bytes, so that C tells where its bit fields lie. */
        static unsigned long long bytes(const void *p, int n) { unsigned long long v = 0; memcpy(&v, p, n); return v; }
        """;

    private static int At<T>(string field) => (int)Marshal.OffsetOf<T>(field);

    [CompilerFact("xen/hvm/ioreq.h")]
    public void Layouts_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        c.Size("struct ioreq", sizeof(Ioreq));
        c.Offset("struct ioreq", "addr", At<Ioreq>(nameof(Ioreq.Address)));
        c.Offset("struct ioreq", "data", At<Ioreq>(nameof(Ioreq.Data)));
        c.Offset("struct ioreq", "count", At<Ioreq>(nameof(Ioreq.Count)));
        c.Offset("struct ioreq", "size", At<Ioreq>(nameof(Ioreq.Size)));
        c.Offset("struct ioreq", "vp_eport", At<Ioreq>(nameof(Ioreq.EventPort)));
        c.Offset("struct ioreq", "type", At<Ioreq>(nameof(Ioreq.Type)));
        c.Size("struct buf_ioreq", sizeof(BufferedIoreq));
        c.Size("struct buffered_iopage", sizeof(BufferedIoreqPage));
        c.Offset("struct buffered_iopage", "read_pointer", At<BufferedIoreqPage>(nameof(BufferedIoreqPage.ReadPointer)));
        c.Offset("struct buffered_iopage", "write_pointer", At<BufferedIoreqPage>(nameof(BufferedIoreqPage.WritePointer)));
        c.Offset("struct buffered_iopage", "buf_ioreq", BufferedIoreqPage.SlotsOffset);
        c.Size("struct xen_dm_op_modified_memory_extent", sizeof(ModifiedExtent));
        c.Offset("struct xen_dm_op_modified_memory_extent", "first_pfn", At<ModifiedExtent>(nameof(ModifiedExtent.FirstPage)));
        c.Size("struct xen_hvm_param", sizeof(HvmParam));
        c.Offset("struct xen_hvm_param", "index", At<HvmParam>(nameof(HvmParam.Index)));
        c.Offset("struct xen_hvm_param", "value", At<HvmParam>(nameof(HvmParam.Value)));
        c.Size("struct xen_memory_reservation", sizeof(MemoryReservation));
        c.Offset("struct xen_memory_reservation", "nr_extents", At<MemoryReservation>(nameof(MemoryReservation.Count)));
        c.Offset("struct xen_memory_reservation", "extent_order", At<MemoryReservation>(nameof(MemoryReservation.Order)));
        c.Offset("struct xen_memory_reservation", "domid", At<MemoryReservation>(nameof(MemoryReservation.Domain)));
        c.Size("xengnttab_grant_copy_segment_t", sizeof(GrantCopySegment));
        c.Offset("xengnttab_grant_copy_segment_t", "dest", At<GrantCopySegment>(nameof(GrantCopySegment.DestinationReference)));
        c.Offset("xengnttab_grant_copy_segment_t", "source.foreign.offset", At<GrantCopySegment>(nameof(GrantCopySegment.SourceOffset)));
        c.Offset("xengnttab_grant_copy_segment_t", "source.foreign.domid", At<GrantCopySegment>(nameof(GrantCopySegment.SourceDomain)));
        c.Offset("xengnttab_grant_copy_segment_t", "len", At<GrantCopySegment>(nameof(GrantCopySegment.Length)));
        c.Offset("xengnttab_grant_copy_segment_t", "flags", At<GrantCopySegment>(nameof(GrantCopySegment.Flags)));
        c.Offset("xengnttab_grant_copy_segment_t", "status", At<GrantCopySegment>(nameof(GrantCopySegment.Status)));
        c.Size("struct xs_permissions", sizeof(XenStorePermission));
        c.Offset("struct xs_permissions", "perms", 4);
        c.Verify();
    }

    [CompilerFact("xen/hvm/ioreq.h")]
    public void BitFields_LieWhereTheCompilerPutsThem()
    {
        var c = new HeaderCheck(Headers);
        string Ioreq(string fields) => $"bytes((unsigned char *)&(struct ioreq){{ {fields} }} + 30, 1)";
        c.Value(Ioreq(".state = STATE_IORESP_READY"), (int)IoreqState.ResponseReady);
        c.Value(Ioreq(".state = STATE_IOREQ_INPROCESS, .data_is_ptr = 1"), (int)IoreqState.InProcess | 0x10);
        c.Value(Ioreq(".state = STATE_IOREQ_READY, .dir = IOREQ_READ"), (int)IoreqState.Ready | 0x20);
        c.Value(Ioreq(".state = STATE_IOREQ_NONE, .df = 1"), (int)IoreqState.None | 0x40);
        c.Value("bytes(&(struct buf_ioreq){ .type = 7, .dir = 1, .size = 3, .addr = 0xabcde, .data = 0 }, 8)", 0xabcde000L | 0xe00 | 7);
        c.Value("bytes(&(struct buf_ioreq){ .data = 0x12345678 }, 8)", 0x12345678_00000000);
        c.Verify();

        var ioreq = new Ioreq { Bits = 0x31 };
        Assert.True(ioreq is { State: IoreqState.Ready, DataIsPointer: true, IsRead: true, Descending: false });
        ioreq.State = IoreqState.ResponseReady;
        Assert.Equal(0x33, ioreq.Bits);
        var buffered = new BufferedIoreq { Header = 0xabcde000 | 0xe00 | 7 };
        Assert.True(buffered is { Type: IoreqType.TimeOffset, IsRead: true, Size: 8, Address: 0xabcde });
    }

    [CompilerFact("xen/hvm/ioreq.h")]
    public void Constants_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        c.Value("IOREQ_TYPE_PIO", (int)IoreqType.Port);
        c.Value("IOREQ_TYPE_COPY", (int)IoreqType.Memory);
        c.Value("IOREQ_TYPE_PCI_CONFIG", (int)IoreqType.PciConfig);
        c.Value("IOREQ_TYPE_TIMEOFFSET", (int)IoreqType.TimeOffset);
        c.Value("IOREQ_TYPE_INVALIDATE", (int)IoreqType.Invalidate);
        c.Value("IOREQ_BUFFER_SLOT_NUM", BufferedIoreqPage.SlotCount);
        c.Value("HVM_IOREQSRV_BUFIOREQ_ATOMIC", XenConstants.BufferedIoreqAtomic);
        c.Value("XENMEM_resource_ioreq_server", XenConstants.ResourceIoreqServer);
        c.Value("XENMEM_resource_ioreq_server_frame_bufioreq", (long)XenConstants.ResourceFrameBuffered);
        c.Value("XENMEM_resource_ioreq_server_frame_ioreq(0)", (long)XenConstants.ResourceFrameIoreq);
        c.Value("XEN_DMOP_MEM_CACHEATTR_WB", XenConstants.CacheWriteBack);
        c.Value("HVM_PARAM_ACPI_S_STATE", XenConstants.ParamAcpiSleepState);
        c.Value("HVMMEM_ram_rw", XenConstants.MemoryRamReadWrite);
        c.Value("HVMMEM_ram_ro", XenConstants.MemoryRamReadOnly);
        c.Value("SHUTDOWN_poweroff", XenConstants.ShutdownPowerOff);
        c.Value("SHUTDOWN_reboot", XenConstants.ShutdownReboot);
        c.Value("DOMID_FIRST_RESERVED", XenConstants.FirstReservedDomain);
        c.Value("HVM_MAX_VCPUS", XenConstants.MaxIoreqVcpus);
        c.Value("__HYPERVISOR_memory_op", 12);
        c.Value("__HYPERVISOR_hvm_op", 34);
        c.Value("HVMOP_set_param", 0);
        c.Value("HVMOP_get_param", 1);
        c.Value("XENMEM_populate_physmap", 6);
        c.Value("GNTCOPY_source_gref", GrantCopySegment.SourceIsGrant);
        c.Value("GNTCOPY_dest_gref", GrantCopySegment.DestinationIsGrant);
        c.Value("XS_PERM_READ", XenStorePermission.Read);
        c.Value("XS_PERM_WRITE", XenStorePermission.Write);
        c.Value("XS_UNWATCH_FILTER", 4);
        c.Verify();
    }

    [HostFact(Without = TestHost.XenDevice)]
    public void Open_WithoutXen_SaysWhatIsMissing()
    {
        // On a host that is no dom0 every one of these must end in one clear line, never in a crash or a loader's message without context.
        foreach (var open in new System.Action[]
        {
            static () => new XenDeviceModel().Dispose(), static () => new XenForeignMemory().Dispose(), static () => new XenEventChannel().Dispose(),
            static () => new XenGrantTable().Dispose(), static () => new XenCall().Dispose(), static () => new XenStore().Dispose(),
        })
        {
            var e = Assert.Throws<XenException>(open);
            Assert.Matches("^((no Xen here: )?cannot open |Xen's libraries are not installed)", e.Message);
            Assert.DoesNotContain('\n', e.Message);
        }
    }
}
